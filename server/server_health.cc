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
  failed_devices_.push_back(device);
  Report();
}

void ServerHealth::OnDraining() {
  const MutexLock lock(mutex_);
  draining_ = true;
  Report();
}

absl::Status ServerHealth::Liveness() const {
  const MutexLock lock(mutex_);
  if (failed_devices_.empty()) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(absl::StrJoin(failed_devices_, ", "),
                                             " failed: restart the server to use it again"));
}

absl::Status ServerHealth::Readiness() const {
  const MutexLock lock(mutex_);
  if (draining_) return absl::UnavailableError("the server is shutting down");
  if (!HasDevice()) return absl::UnavailableError("no device works: restart the server");
  return absl::OkStatus();
}

bool ServerHealth::HasDevice() const { return static_cast<int>(failed_devices_.size()) < devices_; }

void ServerHealth::Report() {
  if (listener_ == nullptr) return;
  SetHealth(*listener_, {.live = failed_devices_.empty(), .ready = HasDevice() && !draining_});
}

}  // namespace denoise
