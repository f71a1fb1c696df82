// Another program that a test starts, watches and ends.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/mutex.h"

namespace denoise {

// Collects what can be read from a file descriptor until it ends. Thread-safe.
class OutputReader {
 public:
  explicit OutputReader(int fd);  // owns `fd`
  ~OutputReader();                // waits for the end of the output

  std::string text() const;

  // Waits for a complete line that starts with `prefix`, and returns the rest of it. nullopt if the
  // output ends or `timeout` passes first.
  std::optional<std::string> WaitForLine(std::string_view prefix, absl::Duration timeout) const;

  // Waits until the writing end is closed, and returns everything.
  std::string WaitForEnd() const;

 private:
  void Read();
  std::optional<std::string> FindLine(std::string_view prefix) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int fd_;
  mutable Mutex mutex_;
  mutable CondVar changed_;
  std::string text_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last, because it uses the members above
};

// How a program ended: by itself with `code`, or by `signal`.
struct ExitStatus {
  int code = 0;
  int signal = 0;

  bool operator==(const ExitStatus&) const = default;
};
inline constexpr ExitStatus kExitedCleanly{0, 0};

// Kills the program when destroyed, if it is still running. Not thread-safe.
class Subprocess {
 public:
  // argv[0] is the path of the program. Its input is empty; its output and errors are collected.
  static absl::StatusOr<std::unique_ptr<Subprocess>> Start(const std::vector<std::string>& argv);
  ~Subprocess();
  Subprocess(const Subprocess&) = delete;
  Subprocess& operator=(const Subprocess&) = delete;

  const OutputReader& standard_output() const { return *output_; }
  const OutputReader& standard_error() const { return *error_; }

  pid_t pid() const { return pid_; }
  bool running() const { return !exit_status_.has_value(); }  // unless Wait has seen its end

  void Signal(int signal);

  // Waits for the program to end. nullopt if it is still running after `timeout`.
  std::optional<ExitStatus> Wait(absl::Duration timeout);

 private:
  Subprocess(pid_t pid, int output_fd, int error_fd);
  void AwaitEnd();

  const pid_t pid_;
  std::optional<ExitStatus> exit_status_;  // set once reaped
  std::unique_ptr<OutputReader> output_;
  std::unique_ptr<OutputReader> error_;

  Mutex mutex_;
  CondVar has_ended_;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last, because it uses the members above
};

// Runs a program to its end.
struct ProcessResult {
  ExitStatus exit_status;
  std::string output;
  std::string error;
};

// DeadlineExceeded, after killing the program, if it runs longer than `timeout`.
absl::StatusOr<ProcessResult> RunProcess(const std::vector<std::string>& argv,
                                         absl::Duration timeout);

}  // namespace denoise
