// denoised: serves diffusion models over gRPC and HTTP.

#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <string_view>
#include <thread>

#include "absl/time/clock.h"
#include "core/command_line/standard_output.h"
#include "core/ranks/rank_group.h"
#include "server/checkpoints/checkpoint_commands.h"
#include "server/identity/new_token_command.h"
#include "server/migration/new_handover_key_command.h"
#include "server/models/model_id.h"
#include "server/models/models_root.h"
#include "server/rank_command.h"
#include "server/server.h"
#include "server/server_flags.h"
#include "server/shutdown_signal.h"
#include "server/telemetry/log.h"

namespace {

constexpr int kFailed = 1;
constexpr int kUsageError = 2;
constexpr int kTerminated = 128 + SIGTERM;
// What the server may take to end after its drain.
constexpr absl::Duration kStopGrace = absl::Seconds(15);

#define WITHOUT_SANITIZERS __attribute__((no_sanitize("address", "thread", "undefined")))

// The loader calls what is in .preinit_array before any library's initialisers. No library can be
// counted on at that point, and sanitizers have not started either: hence the bare system calls.

// A file that is opened while descriptor 1 is closed becomes standard output, and is written over.
WITHOUT_SANITIZERS void OpenStandardStreams() {
  for (long stream = 0; stream <= 2; ++stream) {
    if (syscall(SYS_fcntl, stream, F_GETFD) < 0) syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR);
  }
}

// Whether the loader was started with our path as its argument: then it is /proc/self/exe. What the
// kernel says of the program follows its environment.
WITHOUT_SANITIZERS bool StartedByLoader(char** environment) {
  while (*environment != nullptr) ++environment;
  const auto* entry = reinterpret_cast<const ElfW(auxv_t)*>(environment + 1);
  for (; entry->a_type != AT_NULL; ++entry) {
    if (entry->a_type == AT_BASE) return entry->a_un.a_val == 0;
  }
  return false;
}

// OpenMP's threads spin at every barrier by default, which slows the network many times over when
// anything else wants the cores; threads that sleep at once are slow to wake. So they spin for some
// tens of microseconds and then sleep, unless the operator has chosen. OpenMP reads its settings
// while it is loaded, so the program starts over with them, before LibTorch initialises: that takes
// longer than all else at start.
WITHOUT_SANITIZERS void StartOverWithLittleSpinning(char** argv, char** environment) {
  constexpr int kMaxVariables = 4096;
  constexpr char kChosen[] = "OMP_WAIT_POLICY=";
  static char wait_policy[] = "OMP_WAIT_POLICY=passive", spin_count[] = "GOMP_SPINCOUNT=10000";
  static char* variables[kMaxVariables + 3];
  static char program[4096];  // the full path: `ps` would call us "exe" after /proc/self/exe

  if (StartedByLoader(environment)) return;
  int count = 0;
  for (; *environment != nullptr; ++environment) {
    const char* variable = *environment;
    int i = 0;
    while (kChosen[i] != '\0' && variable[i] == kChosen[i]) ++i;
    if (kChosen[i] == '\0' || count == kMaxVariables) return;
    variables[count++] = *environment;
  }
  variables[count++] = wait_policy;
  variables[count] = spin_count;  // behind an operator's own, of which the first is read
  const long length =
      syscall(SYS_readlink, "/proc/self/exe", program, static_cast<long>(sizeof(program)) - 1);
  if (length > 0) syscall(SYS_execve, program, argv, variables);
  // It returns only if it fails; then the threads spin.
}

WITHOUT_SANITIZERS void BeforeInitialisers(int /*argc*/, char** argv, char** environment) {
  OpenStandardStreams();
  StartOverWithLittleSpinning(argv, environment);
}

__attribute__((section(".preinit_array"),
               used)) void (*const kBeforeInitialisers)(int, char**, char**) = &BeforeInitialisers;

// A server that runs out of file descriptors stops accepting connections for good.
void RaiseFileDescriptorLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

int Fail(const absl::Status& status) {
  std::cerr << "denoised: " << std::string(status.message()) << "\n";
  return absl::IsInvalidArgument(status) || absl::IsFailedPrecondition(status) ? kUsageError
                                                                               : kFailed;
}

// The exit code of a process that has nothing else to print.
int AfterPrinting(int code) {
  const absl::Status flushed = denoise::FlushStandardOutput();
  return code != 0 || flushed.ok() ? code : Fail(flushed);
}

// The lines that scripts wait for.
void SayWhere(const denoise::Server& server) {
  std::cout << "listening on " << server.address() << std::endl;
  if (!server.http_address().empty()) {
    std::cout << "http on " << server.http_address() << std::endl;
  }
}

// A thread that waits for a device or a disk that hangs cannot be joined.
void ExitAt(absl::Time time) {
  std::thread([time] {
    absl::SleepFor(time - absl::Now());
    denoise::LogEvent(spdlog::level::err, "exiting although something hangs");
    std::_Exit(kFailed);
  }).detach();
}

// --dtype may name models that will come; more often such a name is misspelt.
void WarnOfUnknownModels(const denoise::ServerFlags& flags) {
  const auto models = denoise::ListModels(flags.models);
  if (!models.ok()) return;  // the server says why
  for (const auto& [name, dtype] : flags.model_dtypes) {
    const bool is_there = std::any_of(models->begin(), models->end(), [&](const auto& model) {
      return model.id == name || denoise::SplitModelId(model.id).first == name;
    });
    if (is_there) continue;
    denoise::LogEvent(spdlog::level::warn, "--dtype names a model that is not there",
                      {{"model", name}, {"dtype", dtype}});
  }
}

int Serve(const denoise::ServerFlags& flags, denoise::ShutdownSignal& shutdown) {
  auto server = denoise::Server::Start(flags);
  if (!server.ok()) return Fail(server.status());
  shutdown.Expect();
  SayWhere(**server);
  denoise::LogEvent(spdlog::level::info, "serving", {{"address", (*server)->address()}});
  const int signal = shutdown.Wait();
  denoise::LogEvent(spdlog::level::info, "draining",
                    {{"signal", signal}, {"seconds", flags.drain_seconds}});
  const absl::Time deadline = absl::Now() + absl::Seconds(flags.drain_seconds);
  ExitAt(deadline + kStopGrace);
  (*server)->Stop(deadline);
  server->reset();
  denoise::LogEvent(spdlog::level::info, "stopped");
  return 0;
}

// `denoised rank`: trains what a server leads.
int Rank(int argc, char** argv) {
  const auto parsed = denoise::ParseRankFlags(argc - 1, argv + 1, std::cout, std::cerr);
  if (const int* exit_code = std::get_if<int>(&parsed)) return AfterPrinting(*exit_code);
  const auto& flags = std::get<denoise::RankFlags>(parsed);
  denoise::PrepareProcessForRanks();
  auto& shutdown = *new denoise::ShutdownSignal;  // to the end of the process
  denoise::InitLog(flags.log_level);
  const absl::Status status = denoise::RunRank(flags, shutdown);
  const int code = absl::IsCancelled(status) ? kTerminated : status.ok() ? 0 : Fail(status);
  std::_Exit(code);  // threads may still wait for a leader that does not answer
}

// Nullopt: the arguments name no command that prints something and ends.
std::optional<int> RunPrintingCommand(int argc, char** argv) {
  for (const auto& run : {denoise::RunNewTokenCommand, denoise::RunCheckpointCommand,
                          denoise::RunNewHandoverKeyCommand}) {
    if (const auto code = run(argc, argv, std::cout, std::cerr)) return code;
  }
  return std::nullopt;
}

}  // namespace

int main(int argc, char** argv) {
  if (const auto code = RunPrintingCommand(argc, argv)) return AfterPrinting(*code);
  if (argc > 1 && std::string_view(argv[1]) == "rank") return Rank(argc, argv);
  const auto parsed = denoise::ParseServerFlags(argc, argv, std::cout, std::cerr);
  if (const int* exit_code = std::get_if<int>(&parsed)) return AfterPrinting(*exit_code);
  const auto& flags = std::get<denoise::ServerFlags>(parsed);
  signal(SIGPIPE, SIG_IGN);  // a reader that has gone is an error to handle, not a reason to die
  denoise::PrepareProcessForRanks();
  denoise::ShutdownSignal shutdown;
  denoise::InitLog(flags.log_level);
  WarnOfUnknownModels(flags);
  RaiseFileDescriptorLimit();
  return Serve(flags, shutdown);
}
