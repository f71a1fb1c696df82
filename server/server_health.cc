#include "server/server_health.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace denoise {

void ServerHealth::Publish(GrpcListener* listener) {
  const MutexLock lock(mutex_);
  listener_ = listener;
  Report();
}

void ServerHealth::Withdraw() {
  const MutexLock lock(mutex_);
  listener_ = nullptr;
}

void ServerHealth::OnDeviceFailed(const std::string& device) {
  const MutexLock lock(mutex_);
  failed_devices_.insert(device);
  Report();
}

void ServerHealth::OnDeviceHangs(const std::string& device, bool hangs) {
  const MutexLock lock(mutex_);
  if (hangs) {
    hanging_devices_.insert(device);
  } else {
    hanging_devices_.erase(device);
  }
  Report();
}

void ServerHealth::OnDraining() {
  const MutexLock lock(mutex_);
  draining_ = true;
  Report();
}

absl::Status ServerHealth::Liveness() const {
  const MutexLock lock(mutex_);
  if (!failed_devices_.empty()) {
    return absl::UnavailableError(absl::StrCat(absl::StrJoin(failed_devices_, ", "),
                                               " failed: restart the server to use it again"));
  }
  if (!hanging_devices_.empty()) {
    return absl::UnavailableError(
        absl::StrCat(absl::StrJoin(hanging_devices_, ", "),
                     " has not answered for --device-timeout-seconds: restart the server"));
  }
  return absl::OkStatus();
}

absl::Status ServerHealth::Readiness() const {
  const MutexLock lock(mutex_);
  if (draining_) return absl::UnavailableError("the server is shutting down");
  if (!HasDevice()) return absl::UnavailableError("no device works: restart the server");
  return absl::OkStatus();
}

bool ServerHealth::IsLive() const { return failed_devices_.empty() && hanging_devices_.empty(); }

bool ServerHealth::HasDevice() const {
  std::set<std::string> lost = failed_devices_;
  lost.insert(hanging_devices_.begin(), hanging_devices_.end());
  return static_cast<int>(lost.size()) < devices_;
}

void ServerHealth::Report() {
  if (listener_ == nullptr) return;
  SetHealth(*listener_, {.live = IsLive(), .ready = HasDevice() && !draining_});
}

}  // namespace denoise
