// The calls that the HTTP listener makes of the server's own services.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/generic/generic_stub.h>

#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "core/base/object_count.h"
#include "server/http/grpc_call.h"
#include "server/rpc/live_calls.h"

namespace denoise {

// Thread-safe. Outlives its calls: destroyed after WaitUntilDone.
class GrpcCalls {
 public:
  // Calls are counted by `count`, which may be null and outlives this.
  explicit GrpcCalls(const std::shared_ptr<grpc::Channel>& channel, ObjectCount* count = nullptr,
                     const Clock* clock = &Clock::Real())
      : stub_(channel), live_(clock), count_(count) {}

  // Null where calls are refused.
  std::shared_ptr<GrpcCall> Start(GrpcCall::Options options) ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    return refuses_ ? nullptr : GrpcCall::Start(stub_, std::move(options), live_, count_);
  }

  // From now on calls are refused. Comes before gRPC's server is shut down: its channel takes no
  // calls afterwards.
  void Refuse() ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    refuses_ = true;
  }
  // Returns once gRPC has let go of all calls; its server must be shut down.
  void WaitUntilDone() { live_.WaitUntilNone(absl::InfiniteFuture()); }

 private:
  grpc::GenericStub stub_;
  LiveCalls live_;
  ObjectCount* const count_;
  Mutex mutex_;
  bool refuses_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace denoise
