#include "client/bench/own_server.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

constexpr std::string_view kListening = "listening on ";
constexpr absl::Duration kLookInterval = absl::Milliseconds(100);
constexpr absl::Duration kShutdownPatience = absl::Seconds(10);
constexpr off_t kShownLogBytes = 2000;
constexpr int kCannotRun = 127;  // as shells have it

std::vector<char*> Pointers(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

struct Pipe {
  FileDescriptor read_end, write_end;
};

absl::StatusOr<Pipe> MakePipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "pipe");
  return Pipe{FileDescriptor(ends[0]), FileDescriptor(ends[1])};
}

// Runs in the child, where only functions that are safe in signal handlers may be called.
[[noreturn]] void BecomeServer(pid_t owner, int output, int log, char* const* argv) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != owner) _exit(kCannotRun);  // it has ended already
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  execvp(argv[0], argv);
  _exit(kCannotRun);
}

std::string EndOfFile(int file) {
  const off_t size = lseek(file, 0, SEEK_END);
  std::string text(static_cast<size_t>(std::min(size, kShownLogBytes)), '\0');
  const ssize_t count =
      pread(file, text.data(), text.size(), size - static_cast<off_t>(text.size()));
  text.resize(static_cast<size_t>(std::max<ssize_t>(count, 0)));
  return text;
}

}  // namespace

absl::StatusOr<std::unique_ptr<OwnServer>> OwnServer::Start(const std::string& program,
                                                            const std::vector<std::string>& flags,
                                                            const Cancellation& cancellation) {
  std::vector<std::string> words = {program};
  words.insert(words.end(), flags.begin(), flags.end());
  const std::vector<char*> argv = Pointers(words);
  ASSIGN_OR_RETURN(Pipe output, MakePipe());
  FileDescriptor log(memfd_create("denoised log", MFD_CLOEXEC));
  if (log.get() < 0) return absl::ErrnoToStatus(errno, "memfd_create");
  const pid_t owner = getpid();
  const pid_t pid = fork();
  if (pid < 0) return absl::ErrnoToStatus(errno, "fork");
  if (pid == 0) BecomeServer(owner, output.write_end.get(), log.get(), argv.data());
  std::unique_ptr<OwnServer> server(new OwnServer(pid, std::move(output.read_end), std::move(log)));
  { const FileDescriptor closed = std::move(output.write_end); }
  RETURN_IF_ERROR(server->WaitUntilItListens(cancellation));
  return server;
}

OwnServer::OwnServer(pid_t pid, FileDescriptor output, FileDescriptor log)
    : pid_(pid), output_(std::move(output)), log_(std::move(log)) {}

OwnServer::~OwnServer() {
  if (reaped_) return;
  kill(pid_, SIGTERM);
  if (!ClosesOutputWithin(kShutdownPatience)) kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

absl::Status OwnServer::WaitUntilItListens(const Cancellation& cancellation) {
  std::string said;
  while (!cancellation.cancelled()) {
    const std::optional<std::string> more = ReadOutput(kLookInterval);
    if (!more) return Ended("before it listened");
    said += *more;
    const size_t begin = said.find(kListening), end = said.find('\n', begin);
    if (begin == std::string::npos || end == std::string::npos) continue;
    address_ = said.substr(begin + kListening.size(), end - begin - kListening.size());
    return absl::OkStatus();
  }
  return absl::CancelledError("interrupted");
}

std::optional<std::string> OwnServer::ReadOutput(absl::Duration patience) {
  pollfd readable{.fd = output_.get(), .events = POLLIN, .revents = 0};
  if (poll(&readable, 1, static_cast<int>(absl::ToInt64Milliseconds(patience))) <= 0) return "";
  char buffer[4096];
  const ssize_t count = read(output_.get(), buffer, sizeof(buffer));
  if (count <= 0) return std::nullopt;
  return std::string(buffer, static_cast<size_t>(count));
}

bool OwnServer::ClosesOutputWithin(absl::Duration patience) {
  const absl::Time deadline = absl::Now() + patience;
  while (absl::Now() < deadline) {
    if (!ReadOutput(kLookInterval)) return true;
  }
  return false;
}

absl::Status OwnServer::CheckRunning() {
  if (!reaped_ && waitpid(pid_, nullptr, WNOHANG) == 0) return absl::OkStatus();
  reaped_ = true;
  return Ended("during the run");
}

absl::Status OwnServer::Ended(const char* when) const {
  std::string log = EndOfFile(log_.get());
  absl::StripAsciiWhitespace(&log);
  absl::StrReplaceAll({{"\n", "; "}}, &log);
  return absl::FailedPreconditionError(
      absl::StrCat("the server that was started ended ", when,
                   log.empty() ? "" : ". The end of its log: ", log));
}

}  // namespace denoise
