// The gRPC call behind a ServerStream. Private to the library.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/sync_stream.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "client/server_stream.h"
#include "core/base/mutex.h"
#include "denoised/v1/image_generation.grpc.pb.h"

namespace denoise {

// The status of a call that has ended. Sets `answered`, unless null, if that is the answer of a
// server, and not the library's for want of one.
absl::Status StatusOfCall(const grpc::Status& status, std::string_view address,
                          std::atomic<bool>* answered);

template <class Event>
class ServerStream<Event>::Call {
 public:
  // Starts a call in place of the one that ended with `status`, and returns its reader; null if
  // nothing continues the stream. Empty for streams that nothing ever continues.
  using Continue = std::function<std::unique_ptr<grpc::ClientReader<Event>>(
      const absl::Status& status, grpc::ClientContext& context)>;

  // `context` comes first and goes last: the reader refers to it.
  std::unique_ptr<grpc::ClientContext> context;  // replaced under `mutex`
  std::unique_ptr<grpc::ClientReader<Event>> reader;
  std::string address;
  std::shared_ptr<std::atomic<bool>> answered;  // ClientOptions::answered
  std::function<bool(Event&)> is_news;          // whether the reader gets an event; empty: each
  Continue continue_after;
  bool may_be_empty = false;  // it resumes, maybe after its last event
  bool empty = true;
  bool end_seen = false;
  std::optional<absl::Status> end;  // set once the stream has ended

  ~Call();

  // The next event of the call; false once it has none.
  bool Read(Event& event);
  // Collects the call's status, once every event has been read.
  absl::Status Finish();
  // Whether another call continues the stream, now.
  bool ContinueAfter(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex);
  void Cancel() ABSL_LOCKS_EXCLUDED(mutex);

  Mutex mutex;
  bool cancelled ABSL_GUARDED_BY(mutex) = false;
};

}  // namespace denoise
