// A server that a benchmark starts for itself.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/bench/cancellation.h"
#include "core/base/file_descriptor.h"

namespace denoise {

// A process of `denoised`. It has a process group of its own, so that Ctrl-C reaches it through its
// owner alone, and it ends with its owner, however that ends. Not thread-safe; the thread that
// starts it must live as long.
class OwnServer {
 public:
  // Runs `program`, a path or a name to be found in $PATH, with `flags`, and waits until it says
  // where it listens. FailedPrecondition with the end of its log if it ends instead; Cancelled once
  // `cancellation` is.
  static absl::StatusOr<std::unique_ptr<OwnServer>> Start(const std::string& program,
                                                          const std::vector<std::string>& flags,
                                                          const Cancellation& cancellation);
  // Asks it to shut down, kills it if that takes too long, and waits for its end.
  ~OwnServer();
  OwnServer(const OwnServer&) = delete;
  OwnServer& operator=(const OwnServer&) = delete;

  const std::string& address() const { return address_; }  // "HOST:PORT"

  // FailedPrecondition with the end of its log if the server has ended by itself.
  absl::Status CheckRunning();

 private:
  OwnServer(pid_t pid, FileDescriptor output, FileDescriptor log);

  absl::Status WaitUntilItListens(const Cancellation& cancellation);
  // What it has written to its standard output meanwhile; nullopt once it has closed that.
  std::optional<std::string> ReadOutput(absl::Duration patience);
  bool ClosesOutputWithin(absl::Duration patience);
  absl::Status Ended(const char* when) const;

  const pid_t pid_;
  const FileDescriptor output_;
  const FileDescriptor log_;  // of a file without a name
  std::string address_;
  bool reaped_ = false;
};

}  // namespace denoise
