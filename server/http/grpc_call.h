// A call of any method of the server, in bytes, through its own in-process channel.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/client_callback.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "core/base/mutex.h"
#include "core/base/object_count.h"
#include "server/http/connect_protocol.h"
#include "server/http/task.h"
#include "server/rpc/live_calls.h"

namespace denoise {

// Its tasks run on the strand of whoever waits for them, one of each kind at a time. The call is
// cancelled if its last holder lets go of it before it is over.
class GrpcCall final : private grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  struct Options {
    std::string method;  // "/denoised.v1.Models/ListModels"
    CallMetadata metadata;
    absl::Time deadline = absl::InfiniteFuture();
  };

  // `live` counts the call until gRPC has let go of it; it, `stub` and `count`, which may be null,
  // outlive the call.
  static std::shared_ptr<GrpcCall> Start(grpc::GenericStub& stub, Options options, LiveCalls& live,
                                         ObjectCount* count);

  // Sends a message; false where the call is over.
  Task<bool> Write(std::string_view message);
  // Says that there is nothing more to send.
  Task<void> WritesDone();
  // The next message; nullopt once there are no more.
  Task<std::optional<std::string>> Read();
  // Waits for the end; comes after the last message has been read.
  Task<grpc::Status> Finish();
  // Any thread may ask for it.
  void Cancel() { context_.TryCancel(); }

  // Known once the call is over.
  CallMetadata trailing_metadata() const;

 private:
  using Continue = std::function<void(bool ok)>;

  GrpcCall(Options options, LiveCalls& live, ObjectCount* count);
  ~GrpcCall() override = default;

  // Starts something, and waits for its end.
  template <class Starter>
  Task<bool> Wait(Continue GrpcCall::*slot, Starter start) ABSL_LOCKS_EXCLUDED(mutex_);
  void End(Continue GrpcCall::*slot, bool ok) ABSL_LOCKS_EXCLUDED(mutex_);
  // Lets gRPC end the call.
  void Release();
  void Leave() ABSL_LOCKS_EXCLUDED(mutex_);

  void OnReadDone(bool ok) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnWriteDone(bool ok) override { End(&GrpcCall::write_, ok); }
  void OnWritesDoneDone(bool ok) override { End(&GrpcCall::write_, ok); }
  void OnDone(const grpc::Status& status) override ABSL_LOCKS_EXCLUDED(mutex_);

  const std::string method_;
  LiveCalls& live_;
  const CountedObject counted_;
  grpc::ClientContext context_;
  grpc::ByteBuffer outgoing_;
  grpc::ByteBuffer incoming_;
  bool released_ = false;
  bool has_read_ = false;  // Read was called

  Mutex mutex_;
  // How whoever waits goes on; empty where nobody does.
  Continue read_ ABSL_GUARDED_BY(mutex_);
  Continue write_ ABSL_GUARDED_BY(mutex_);
  Continue done_ ABSL_GUARDED_BY(mutex_);
  std::optional<bool> first_read_ ABSL_GUARDED_BY(mutex_);  // how it ended, if nobody waited yet
  std::optional<grpc::Status> status_ ABSL_GUARDED_BY(mutex_);  // once the call is over
  bool held_ ABSL_GUARDED_BY(mutex_) = true;
};

}  // namespace denoise
