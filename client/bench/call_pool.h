// The calls of a benchmark that are in flight.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "client/bench/call_outcome.h"
#include "client/bench/cancellation.h"
#include "client/bench/generate_call.h"
#include "client/bench/load_request.h"
#include "client/client_options.h"
#include "core/base/mutex.h"

namespace denoise {

// Starts calls and collects what happens to them, on as many connections as they need. Cancelling
// `cancellation` cancels all of them. Thread-safe.
class CallPool {
 public:
  struct Options {
    ClientOptions client;
    std::string tenant_header;  // the metadata key that carries a request's tenant
  };
  // `cancellation` outlives this, and has no other listener meanwhile.
  CallPool(Options options, Cancellation& cancellation);
  ~CallPool();  // cancels what is in flight

  // Sends `load` now. It outlives the call. Calls are never retried.
  void Start(const LoadRequest& load, size_t index, absl::Time arrival);

  int in_flight() const;
  // Waits until at most `most` calls are in flight. False if `time` comes first.
  bool WaitUntilAtMost(int most, absl::Time time = absl::InfiniteFuture()) const;

  // The outcomes of calls that have ended since the last Take, in the order of their ends.
  std::vector<CallOutcome> Take();

 private:
  // A connection, and how many calls it carries.
  struct Line;

  Line& LineWithRoom() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SetUp(const LoadRequest& load, absl::Time arrival, grpc::ClientContext& context) const;
  void End(int64_t number, CallOutcome outcome);
  void CancelAll();

  const Options options_;
  Cancellation& cancellation_;

  mutable Mutex mutex_;
  mutable CondVar changed_;
  std::vector<std::unique_ptr<Line>> lines_ ABSL_GUARDED_BY(mutex_);
  struct Flight {
    std::shared_ptr<GenerateCall> call;  // null once it has ended and is being destroyed
    Line* line;
  };
  // By the numbers of the calls: a new call may get the address of one that is being destroyed.
  std::map<int64_t, Flight> flights_ ABSL_GUARDED_BY(mutex_);
  int64_t next_number_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<CallOutcome> ended_ ABSL_GUARDED_BY(mutex_);
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace denoise
