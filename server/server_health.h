// What probes are told: whether the process should be restarted, and whether it takes requests.
#pragma once

#include <set>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "core/base/mutex.h"
#include "server/grpc_listener.h"

namespace denoise {

// A device that fails for good makes the process not live: only another one can use the device
// again. So does one that hangs, as long as it does. The process still takes requests as long as it
// has another device. Draining ends that, and leaves it alive: whoever restarts it would cut the
// drain short. Thread-safe.
class ServerHealth {
 public:
  // Of a server with so many devices.
  explicit ServerHealth(int devices) : devices_(devices) {}

  // Has gRPC's health service of `listener` say the same, until Withdraw.
  void Publish(GrpcListener* listener) ABSL_LOCKS_EXCLUDED(mutex_);
  void Withdraw() ABSL_LOCKS_EXCLUDED(mutex_);

  void OnDeviceFailed(const std::string& device) ABSL_LOCKS_EXCLUDED(mutex_);
  void OnDeviceHangs(const std::string& device, bool hangs) ABSL_LOCKS_EXCLUDED(mutex_);
  void OnDraining() ABSL_LOCKS_EXCLUDED(mutex_);

  // OK, or why not.
  absl::Status Liveness() const ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Readiness() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  bool IsLive() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HasDevice() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Report() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int devices_;

  mutable Mutex mutex_;
  GrpcListener* listener_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::set<std::string> failed_devices_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> hanging_devices_ ABSL_GUARDED_BY(mutex_);
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace denoise
