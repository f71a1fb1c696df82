#include "server/rank_command.h"

#include <ATen/Parallel.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <ostream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/mutex.h"
#include "core/base/status_macros.h"
#include "core/command_line/usage_error.h"
#include "core/device/cuda_library.h"
#include "core/device/devices.h"
#include "core/diffusion/device_errors.h"
#include "core/ranks/joined_rank.h"
#include "server/cores.h"
#include "server/jobs/ranks/rank_trainer.h"
#include "server/jobs/ranks/run_document.h"
#include "server/telemetry/log.h"

namespace denoise {
namespace {

constexpr int kUsageError = 2;
constexpr absl::Duration kPauseAfterFailure = absl::Seconds(1);
constexpr absl::Duration kWatchInterval = absl::Seconds(5);
constexpr absl::Duration kPatienceWithLeader = absl::Minutes(1);  // once asked to end

constexpr char kHelp[] = R"(Examples:
  denoised rank --join trainer:29500
  denoised rank --join trainer:29500 --device cuda:1 --once

The server that leads runs with --ranks and --rank-listen. It sends each rank the model, the state
of the run and the pictures: nothing is read or written here. After a run, and after the loss of the
server, a rank waits for the next one.

SIGTERM ends a rank after its next step: the server saves a checkpoint, and continues with the other
ranks, or waits for another one. A rank waits a minute for that step. A second signal ends it at
once, as a crash would: the others continue from the last checkpoint.

Exit codes: 0 ended by a signal, or with --once a job is finished; 1 failed, 2 wrong usage, 143
ended by a signal with --once before a job was finished.)";

// The group that trains now, so that a signal can tell it.
class CurrentGroup {
 public:
  // Null: none.
  void Set(std::shared_ptr<RankGroup> group) {
    const MutexLock lock(mutex_);
    group_ = std::move(group);
    if (stopped_ && group_) group_->Leave();
  }
  // The run ends after the next step; a second signal ends the process at once.
  void Stop() {
    const MutexLock lock(mutex_);
    stopped_ = true;
    if (group_) group_->Leave();
  }
  bool stopped() const {
    const MutexLock lock(mutex_);
    return stopped_;
  }

 private:
  mutable Mutex mutex_;
  std::shared_ptr<RankGroup> group_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

// Ends the wait for a leader's next step when the leader has vanished without closing its
// connections, and when this rank has been asked to end and the step does not come.
class LeaderWatch {
 public:
  // Everything outlives it.
  LeaderWatch(const JoinedRank& joined, RankGroup& group, const CurrentGroup& current)
      : thread_([this, &joined, &group, &current] { Run(joined, group, current); }) {}
  ~LeaderWatch() {
    {
      const MutexLock lock(mutex_);
      ended_ = true;
    }
    changed_.NotifyAll();
    thread_.join();
  }

 private:
  void Run(const JoinedRank& joined, RankGroup& group, const CurrentGroup& current) {
    absl::Time leave_by = absl::InfiniteFuture();
    while (!WaitForEnd(kWatchInterval)) {
      if (current.stopped()) leave_by = std::min(leave_by, absl::Now() + kPatienceWithLeader);
      // Within a step the group's own timeout holds; the leader may answer again before it passes.
      const bool gives_up = !joined.LeaderAnswers() || absl::Now() > leave_by;
      if (gives_up && group.receives()) group.InterruptReceive();
    }
  }

  bool WaitForEnd(absl::Duration duration) {
    const absl::Time until = absl::Now() + duration;
    const MutexLock lock(mutex_);
    while (!ended_) {
      if (changed_.WaitUntil(mutex_, until)) break;
    }
    return ended_;
  }

  Mutex mutex_;
  CondVar changed_;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses all of the above
};

// One run. As FollowRun.
absl::Status TrainOnce(JoinedRank& joined, const std::shared_ptr<RankGroup>& group,
                       at::Device device, CurrentGroup& current) {
  LogEvent(spdlog::level::info, "training", {{"rank", group->rank()}, {"ranks", group->size()}});
  current.Set(group);
  int64_t steps = 0;
  absl::Status status;
  {
    const LeaderWatch watch(joined, *group, current);
    status = FollowRun(group, device, [&](const StepReport&) { ++steps; });
  }
  current.Set(nullptr);
  const bool ended = status.ok() || absl::IsCancelled(status);
  LogEvent(ended ? spdlog::level::info : spdlog::level::warn, "run ended",
           {{"steps", steps},
            {"reason", status.ok() ? "the job is finished" : std::string(status.message())}});
  return status;
}

// Whether to end rather than to join again: a rank that fails at once again and again uses up the
// runs that the job may lose, and the others with it. Whoever starts the process again does it
// later.
bool IsForGood(const absl::Status& status, at::Device device) {
  if (absl::IsInvalidArgument(status) || absl::IsFailedPrecondition(status)) return true;
  return absl::IsInternal(status) && !Works(device);
}

// Takes part in the leader's runs until it goes (Unavailable), a signal arrives (Cancelled) or,
// with `once`, a job is finished, with this rank or without it. Returns errors that are for good.
absl::Status TrainWith(JoinedRank& joined, bool once, at::Device device, CurrentGroup& current) {
  while (true) {
    auto group = joined.NextGroup([&] { return current.stopped(); });
    const bool finished = absl::IsOutOfRange(group.status());
    if (once && finished) return absl::OkStatus();
    if (finished) continue;
    RETURN_IF_ERROR(group.status());
    const absl::Status status = TrainOnce(joined, *std::move(group), device, current);
    if (once && status.ok()) return status;
    if (IsForGood(status, device)) return status;
    if (!status.ok() && !absl::IsCancelled(status)) absl::SleepFor(kPauseAfterFailure);
  }
}

}  // namespace

std::variant<RankFlags, int> ParseRankFlags(int argc, const char* const* argv, std::ostream& out,
                                            std::ostream& err) {
  RankFlags flags;
  CLI::App app("Trains what a server leads, together with other machines.", "denoised rank");
  app.option_defaults()->always_capture_default();
  app.footer(kHelp);
  app.add_option("--join", flags.join, "The server's --rank-listen")
      ->type_name("HOST:PORT")
      ->required();
  app.add_option("--device", flags.device, "auto, cpu, cuda or one such as cuda:1");
  app.add_option("--threads", flags.threads,
                 "Threads of the CPU; 0 means one per core that the process may use")
      ->check(CLI::Range(0, 1024));
  app.add_flag("--once", flags.once, "End once a job is finished");
  app.add_option("--log-level", flags.log_level, "Least severe level to log")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "critical", "off"}));
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (const auto good = ParseOrExplain(app, arguments, out, err)) return *good ? 0 : kUsageError;
  return flags;
}

absl::Status RunRank(const RankFlags& flags, ShutdownSignal& shutdown) {
  (void)LoadCuda();  // where there is none, ParseDevices says so
  ASSIGN_OR_RETURN(const std::vector<at::Device> devices, ParseDevices(flags.device));
  if (devices.size() != 1) {
    return absl::InvalidArgumentError("--device must name one device; start a rank for each");
  }
  at::set_num_threads(flags.threads > 0 ? flags.threads : UsableCores());
  const auto current = std::make_shared<CurrentGroup>();
  shutdown.Expect();
  std::thread([&shutdown, current] {  // waits to the end of the process
    const int signal = shutdown.Wait();
    LogEvent(spdlog::level::info, "ending", {{"signal", signal}});
    current->Stop();
  })
      .detach();
  std::string logged;  // why there is no leader
  while (!current->stopped()) {
    const auto joined =
        JoinedRank::Join(flags.join, RankVersion(), [&current] { return current->stopped(); });
    absl::Status status = joined.status();
    if (status.ok()) {
      LogEvent(spdlog::level::info, "joined", {{"leader", flags.join}});
      status = TrainWith(**joined, flags.once, devices.front(), *current);
    }
    if (!absl::IsUnavailable(status)) {
      return absl::IsCancelled(status) && !flags.once ? absl::OkStatus() : status;
    }
    const std::string reason(status.message());
    if (reason != logged)
      LogEvent(spdlog::level::warn, "no leader; trying again", {{"reason", reason}});
    logged = reason;
    absl::SleepFor(kPauseAfterFailure);
  }
  return flags.once ? absl::CancelledError("ended by a signal") : absl::OkStatus();
}

}  // namespace denoise
