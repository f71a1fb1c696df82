// denoised: serves diffusion models over gRPC.

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "absl/time/clock.h"
#include "server/server.h"
#include "server/server_flags.h"
#include "server/shutdown_signal.h"
#include "server/telemetry/log.h"

namespace {

constexpr int kFailed = 1;
constexpr int kUsageError = 2;

// OpenMP's threads spin at every barrier by default, which slows the network many times over as
// soon as anything else wants the cores; threads that sleep at once are slow to wake. So they spin
// for some tens of microseconds and then sleep. The runtime reads these settings when it is loaded,
// before main, so the program starts over with them, unless the operator has chosen.
void WaitForThreadsWithLittleSpinning(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  setenv("OMP_WAIT_POLICY", "passive", /*overwrite=*/1);
  setenv("GOMP_SPINCOUNT", "10000", /*overwrite=*/0);
  execv("/proc/self/exe", argv);  // returns only where it fails; then the threads spin
}

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

// The lines that scripts wait for.
void SayWhere(const denoise::Server& server) {
  std::cout << "listening on " << server.address() << std::endl;
  if (!server.metrics_address().empty()) {
    std::cout << "metrics on " << server.metrics_address() << std::endl;
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
  (*server)->Stop(absl::Now() + absl::Seconds(flags.drain_seconds));
  denoise::LogEvent(spdlog::level::info, "stopped");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  WaitForThreadsWithLittleSpinning(argv);
  const auto parsed = denoise::ParseServerFlags(argc, argv, std::cout, std::cerr);
  if (const int* exit_code = std::get_if<int>(&parsed)) return *exit_code;
  const auto& flags = std::get<denoise::ServerFlags>(parsed);
  signal(SIGPIPE, SIG_IGN);  // a reader that has gone is an error to handle, not a reason to die
  denoise::ShutdownSignal shutdown;
  denoise::InitLog(flags.log_level);
  RaiseFileDescriptorLimit();
  return Serve(flags, shutdown);
}
