// One Generate call of a benchmark, without a thread of its own.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <functional>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "client/bench/call_outcome.h"
#include "client/bench/load_request.h"
#include "core/base/mutex.h"
#include "denoised/v1/image_generation.grpc.pb.h"

namespace denoise {

// Reads the stream to its end at the request's pace, keeping no image. gRPC's threads do the work.
class GenerateCall final : public grpc::ClientReadReactor<denoised::v1::GenerateEvent> {
 public:
  // `load` outlives the call. `peer` is what errors call the server. `outcome` is filled in.
  GenerateCall(const LoadRequest& load, std::string peer, CallOutcome outcome);

  // To be set up before Start.
  grpc::ClientContext& context() { return context_; }
  // `on_end` gets the outcome once the call has ended, and may give up the call.
  void Start(denoised::v1::ImageGeneration::Stub& stub, std::function<void(CallOutcome)> on_end);

  // Makes the call end soon. Thread-safe.
  void Cancel();

 private:
  void OnReadDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

  void StartNextRead();
  void ReadAfter(absl::Duration pause);
  void Record(const denoised::v1::GenerateEvent& event);
  void RecordAccepted(const denoised::v1::Accepted& accepted);

  const LoadRequest& load_;
  const std::string peer_;
  grpc::ClientContext context_;
  std::function<void(CallOutcome)> on_end_;  // constant once started

  // Of the reads, one at a time.
  denoised::v1::GenerateEvent event_;
  CallOutcome outcome_;
  double rows_times_evaluations_ = 0;  // that the whole request takes

  Mutex mutex_;
  // Ends a pause. Each has its own: the one before may still be returning from its callback.
  std::optional<grpc::Alarm> alarm_ ABSL_GUARDED_BY(mutex_);
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace denoise
