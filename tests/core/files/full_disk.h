// A disk that is full after so many bytes.
#pragma once

#include <sys/resource.h>

#include <csignal>

namespace denoise {

// While it lives, no file of this process grows beyond `max_bytes`. Whoever tries gets an error, or
// is killed by SIGXFSZ, in the middle of a write.
class FullDisk {
 public:
  enum class Then { kError, kKill };

  FullDisk(rlim_t max_bytes, Then then)
      : signal_before_(std::signal(SIGXFSZ, then == Then::kError ? SIG_IGN : SIG_DFL)) {
    getrlimit(RLIMIT_FSIZE, &limit_before_);
    const rlimit limit{max_bytes, limit_before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FullDisk() {
    setrlimit(RLIMIT_FSIZE, &limit_before_);
    std::signal(SIGXFSZ, signal_before_);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  rlimit limit_before_;
  void (*signal_before_)(int);
};

}  // namespace denoise
