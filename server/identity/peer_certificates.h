// The certificates of the clients that are connected, by what gRPC calls the connection.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "core/base/mutex.h"

namespace denoise {

// Thread-safe.
class PeerCertificates {
 public:
  void Add(const std::string& peer, const std::string& name) ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    names_[peer] = name;
  }

  void Remove(const std::string& peer) ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    names_.erase(peer);
  }

  // Whom the certificate names; empty where there is none.
  std::string NameOf(std::string_view peer) const ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    const auto found = names_.find(peer);
    return found == names_.end() ? "" : found->second;
  }

 private:
  mutable Mutex mutex_;
  std::map<std::string, std::string, std::less<>> names_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace denoise
