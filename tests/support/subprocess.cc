#include "tests/support/subprocess.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

struct Pipe {
  int read_end;
  int write_end;
};

// Both ends are closed on exec; the child gets its copy through dup2.
absl::StatusOr<Pipe> MakePipe() {
  std::array<int, 2> ends;
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    return absl::ErrnoToStatus(errno, "pipe");
  }
  return Pipe{ends[0], ends[1]};
}

std::vector<char*> PointersTo(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (const std::string& s : strings) pointers.push_back(const_cast<char*>(s.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

OutputReader::OutputReader(int fd) : fd_(fd), thread_([this] { Read(); }) {}

OutputReader::~OutputReader() {
  thread_.join();
  close(fd_);
}

void OutputReader::Read() {
  std::array<char, 4096> buffer;
  while (true) {
    const ssize_t count = read(fd_, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    const MutexLock lock(mutex_);
    if (count > 0) text_.append(buffer.data(), static_cast<size_t>(count));
    ended_ = count <= 0;
    changed_.NotifyAll();
    if (ended_) return;
  }
}

std::string OutputReader::text() const {
  const MutexLock lock(mutex_);
  return text_;
}

std::optional<std::string> OutputReader::FindLine(std::string_view prefix) const {
  size_t begin = 0;
  for (size_t end; (end = text_.find('\n', begin)) != std::string::npos; begin = end + 1) {
    const std::string_view line = std::string_view(text_).substr(begin, end - begin);
    if (line.starts_with(prefix)) return std::string(line.substr(prefix.size()));
  }
  return std::nullopt;
}

std::optional<std::string> OutputReader::WaitForLine(std::string_view prefix,
                                                     absl::Duration timeout) const {
  const absl::Time deadline = absl::Now() + timeout;
  const MutexLock lock(mutex_);
  for (;;) {
    std::optional<std::string> line = FindLine(prefix);
    if (line.has_value() || ended_) return line;
    if (changed_.WaitUntil(mutex_, deadline)) return FindLine(prefix);
  }
}

std::string OutputReader::WaitForEnd() const {
  const MutexLock lock(mutex_);
  while (!ended_) changed_.Wait(mutex_);
  return text_;
}

absl::StatusOr<std::unique_ptr<Subprocess>> Subprocess::Start(
    const std::vector<std::string>& argv) {
  ASSIGN_OR_RETURN(const Pipe output, MakePipe());
  ASSIGN_OR_RETURN(const Pipe error, MakePipe());

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output.write_end, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, error.write_end, STDERR_FILENO);

  pid_t pid = 0;
  const int spawn_error = posix_spawn(&pid, argv[0].c_str(), &actions, /*attrp=*/nullptr,
                                      PointersTo(argv).data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(output.write_end);
  close(error.write_end);
  if (spawn_error != 0) {
    close(output.read_end);
    close(error.read_end);
    return absl::ErrnoToStatus(spawn_error, absl::StrCat("cannot start ", argv[0]));
  }
  return std::unique_ptr<Subprocess>(new Subprocess(pid, output.read_end, error.read_end));
}

Subprocess::Subprocess(pid_t pid, int output_fd, int error_fd)
    : pid_(pid),
      output_(std::make_unique<OutputReader>(output_fd)),
      error_(std::make_unique<OutputReader>(error_fd)),
      thread_([this] { AwaitEnd(); }) {}

Subprocess::~Subprocess() {
  Signal(SIGKILL);
  Wait(absl::InfiniteDuration());
  thread_.join();
}

// Leaves the program to be reaped by Wait: until then nothing else can get its pid.
void Subprocess::AwaitEnd() {
  siginfo_t info;
  while (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
  }
  const MutexLock lock(mutex_);
  ended_ = true;
  has_ended_.NotifyAll();
}

void Subprocess::Signal(int signal) {
  if (!exit_status_) kill(pid_, signal);
}

std::optional<ExitStatus> Subprocess::Wait(absl::Duration timeout) {
  if (exit_status_) return exit_status_;
  const absl::Time deadline = absl::Now() + timeout;
  {
    const MutexLock lock(mutex_);
    while (!ended_) {
      if (has_ended_.WaitUntil(mutex_, deadline) && !ended_) return std::nullopt;
    }
  }
  int status = 0;
  waitpid(pid_, &status, 0);
  exit_status_ =
      WIFSIGNALED(status) ? ExitStatus{0, WTERMSIG(status)} : ExitStatus{WEXITSTATUS(status), 0};
  return exit_status_;
}

absl::StatusOr<ProcessResult> RunProcess(const std::vector<std::string>& argv,
                                         absl::Duration timeout) {
  ASSIGN_OR_RETURN(auto process, Subprocess::Start(argv));
  const auto exit_status = process->Wait(timeout);
  if (!exit_status) {
    return absl::DeadlineExceededError(absl::StrCat(argv[0], " is still running after ",
                                                    absl::FormatDuration(timeout), ": ",
                                                    process->standard_error().text()));
  }
  return ProcessResult{*exit_status, process->standard_output().WaitForEnd(),
                       process->standard_error().WaitForEnd()};
}

}  // namespace denoise
