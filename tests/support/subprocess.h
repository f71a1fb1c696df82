// Another program, started, watched and ended by a test.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace denoise {

// Collects what a file descriptor says until it ends. Thread-safe.
class OutputReader {
 public:
  explicit OutputReader(int fd);  // owns `fd`
  ~OutputReader();                // waits for the end of the output

  std::string text() const;

  // Waits until a whole line that starts with `prefix` has come; the rest of it. nullopt when the
  // output ends or `timeout` passes first.
  std::optional<std::string> WaitForLine(std::string_view prefix, absl::Duration timeout) const;

  // Waits until whoever writes has closed its end, and returns everything.
  std::string WaitForEnd() const;

 private:
  void Read();
  std::optional<std::string> FindLine(std::string_view prefix) const;  // requires mutex_

  const int fd_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::string text_;    // guarded by mutex_
  bool ended_ = false;  // guarded by mutex_
  std::thread thread_;
};

// How a program ended: by itself with `code`, or by `signal`.
struct ExitStatus {
  int code = 0;
  int signal = 0;

  bool operator==(const ExitStatus&) const = default;
};
inline constexpr ExitStatus kExitedCleanly{0, 0};

// Kills the program, if it still runs, when destroyed. Used by one thread.
class Subprocess {
 public:
  // argv[0] is the path of the program. Its input is empty, its output and errors are collected.
  static absl::StatusOr<std::unique_ptr<Subprocess>> Start(const std::vector<std::string>& argv);
  ~Subprocess();
  Subprocess(const Subprocess&) = delete;
  Subprocess& operator=(const Subprocess&) = delete;

  const OutputReader& standard_output() const { return *output_; }
  const OutputReader& standard_error() const { return *error_; }

  pid_t pid() const { return pid_; }
  bool running() const { return !exit_status_.has_value(); }  // as far as Wait has seen

  void Signal(int signal);

  // Waits for the program to end; nullopt when it still runs after `timeout`.
  std::optional<ExitStatus> Wait(absl::Duration timeout);

 private:
  Subprocess(pid_t pid, int output_fd, int error_fd);

  const pid_t pid_;
  std::optional<ExitStatus> exit_status_;  // set once reaped
  std::unique_ptr<OutputReader> output_;
  std::unique_ptr<OutputReader> error_;
};

// Runs a program to its end.
struct ProcessResult {
  ExitStatus exit_status;
  std::string output;
  std::string error;
};

// DEADLINE_EXCEEDED, after killing it, when the program takes longer than `timeout`.
absl::StatusOr<ProcessResult> RunProcess(const std::vector<std::string>& argv,
                                         absl::Duration timeout);

}  // namespace denoise
