#include "server/jobs/runs/job_runner.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/error_details.h"
#include "core/base/retry.h"
#include "core/base/status_macros.h"
#include "server/jobs/store/files.h"

namespace denoise {
namespace {

using denoised::v1::TrainingJob;

// Room for more than the checkpoint: events, their pictures, SQLite's log.
constexpr int64_t kRoomBytes = int64_t{64} << 20;

StopRequest RequestOf(const JobStatus& status) {
  if (status.state == TrainingJob::CANCELLING) return StopRequest::kDiscard;
  return status.pause_requested ? StopRequest::kSave : StopRequest::kNone;
}

bool IsDiskError(const absl::Status& status) {
  return absl::IsResourceExhausted(status) || absl::IsUnavailable(status);
}

// Tells callers why a job cannot be started.
std::string ReasonOf(const absl::Status& status) {
  if (absl::IsInvalidArgument(status) || absl::IsFailedPrecondition(status)) {
    return std::string(status.message());
  }
  return "the job's model or data could not be loaded";
}

}  // namespace

JobRunner::JobRunner(const RunEnvironment& environment, const Options& options)
    : environment_(environment),
      options_(options),
      next_probe_(environment.clock->Now()),
      thread_([this] { Loop(); }) {}

JobRunner::~JobRunner() { Stop(absl::InfinitePast()); }

void JobRunner::Notify() {
  {
    const MutexLock lock(mutex_);
    notified_ = true;
  }
  changed_.NotifyAll();
}

void JobRunner::Stop(absl::Time deadline) {
  {
    const MutexLock lock(mutex_);
    stopped_ = true;
    deadline_ = deadline;
  }
  changed_.NotifyAll();
  if (thread_.joinable()) thread_.join();
}

void JobRunner::Loop() {
  while (WaitForWork()) {
    SettleEnded();
    ProbeDisk();
    PassOnRequests();
    const absl::Status started = StartJobs();
    if (!started.ok()) Retry("jobs could not be started", started);
    PlanNextProbe();
    if (environment_.observer != nullptr) {
      environment_.observer->OnRunningJobs(static_cast<int>(runs_.size()));
    }
  }
  absl::Time deadline;
  {
    const MutexLock lock(mutex_);
    deadline = deadline_;
  }
  EndRuns(deadline);
}

bool JobRunner::WaitForWork() {
  const MutexLock lock(mutex_);
  while (!stopped_ && !notified_ && environment_.clock->Now() < next_probe_) {
    environment_.clock->WaitUntil(changed_, mutex_, next_probe_);
  }
  notified_ = false;
  return !stopped_;
}

void JobRunner::SettleEnded() {
  for (auto run = runs_.begin(); run != runs_.end();) {
    if (!*run->ended) {
      ++run;
      continue;
    }
    TakeOffEngine(*run);
    Settle(*run);
    run = runs_.erase(run);
  }
}

// Waits until nothing of the run is on the device and everything it reported is written. A run whose
// device has failed counts as lost, and so does one that lost a rank: the job may be what ends them.
void JobRunner::TakeOffEngine(Run& run) {
  environment_.engine->RemoveTask(run.task);
  run.loaded.recorder->Flush();
  const bool lost = *run.ended && (run.loaded.task->end().kind == RunEnd::Kind::kDevice ||
                                   run.loaded.task->end().kind == RunEnd::Kind::kRanks);
  if (!lost) RecordCleanEnd(run.job);
}

void JobRunner::RecordCleanEnd(int64_t job) {
  const absl::Status recorded = environment_.store->EndRun(job);
  if (recorded.ok()) {
    unrecorded_ends_.erase(job);
  } else {
    ReportError("the end of a run could not be written", recorded);
    unrecorded_ends_.insert(job);
  }
}

// A failure to write comes first: a run is not over before everything is on the disk.
void JobRunner::Settle(const Run& run) {
  const absl::Status written = run.loaded.recorder->status();
  if (!written.ok()) ReportError("the results of a job could not be written", written);
  const RunEnd end = written.ok() ? run.loaded.task->end() : EndOfWriting(written);
  switch (end.kind) {
    case RunEnd::Kind::kFinished:
      AnnounceToRanks(run.job);
      return Apply(run.job, JobAction::kSucceed, end.reason);
    case RunEnd::Kind::kRegroup:
      return;  // it stays RUNNING, and starts again
    case RunEnd::Kind::kStopped:
      return Apply(run.job, JobAction::kStop);
    case RunEnd::Kind::kDisk:
      return Apply(run.job, JobAction::kDiskFull, end.reason);
    case RunEnd::Kind::kDevice:
    case RunEnd::Kind::kRanks:
      return Apply(run.job, JobAction::kRequeue, end.reason);
    case RunEnd::Kind::kFailed:
      return Apply(run.job, JobAction::kFail, end.reason);
    case RunEnd::Kind::kNonFinite:
      return Write(run.job, [this, job = run.job, reason = end.reason] {
        return RollBackOrFail(job, reason);
      });
  }
}

// Those that have not trained to the end would wait for another job.
void JobRunner::AnnounceToRanks(int64_t job) const {
  if (environment_.ranks == nullptr) return;
  const auto record = environment_.store->Get(job);
  if (record.ok() && record->has_training()) environment_.ranks->AnnounceFinished();
}

// After a roll-back the job stays RUNNING and restarts from its last checkpoint.
absl::Status JobRunner::RollBackOrFail(int64_t job, const std::string& reason) {
  ASSIGN_OR_RETURN(const bool rolled_back,
                   environment_.store->RollBackOnce(
                       job, absl::StrCat("rolled back to the last checkpoint, once: ", reason)));
  if (rolled_back) return absl::OkStatus();
  return environment_.store
      ->Apply(job, JobAction::kFail,
              absl::StrCat(reason, ". It had already been rolled back to a checkpoint once"))
      .status();
}

void JobRunner::Apply(int64_t job, JobAction action, const std::string& reason) {
  Write(job, [this, job, action, reason] {
    return environment_.store->Apply(job, action, reason).status();
  });
}

void JobRunner::Write(int64_t job, std::function<absl::Status()> write) {
  const absl::Status status = write();
  if (status.ok()) return;
  ReportError("a job's state could not be written", status);
  if (IsDiskError(status)) unwritten_[job] = std::move(write);
}

void JobRunner::PassOnRequests() {
  for (Run& run : runs_) {
    const auto status = environment_.store->Status(run.job);
    if (!status.ok()) {
      Retry("a job's state could not be read", status.status());
      continue;
    }
    run.loaded.task->RequestStop(RequestOf(*status));
    environment_.engine->Wake(run.task);
  }
}

void JobRunner::ProbeDisk() {
  if (environment_.clock->Now() < next_probe_) return;
  next_probe_ = absl::InfiniteFuture();
  for (auto& [job, write] : std::exchange(unwritten_, {})) Write(job, std::move(write));
  const auto waiting = environment_.store->WaitingForRoom();
  if (!waiting.ok()) return Retry("jobs could not be read", waiting.status());
  for (const int64_t job : *waiting) {
    if (HasRoom(job)) Apply(job, JobAction::kRoomAgain);
  }
}

void JobRunner::PlanNextProbe() {
  const auto waiting = environment_.store->WaitingForRoom();
  const bool failed = std::exchange(store_failed_, false) || !waiting.ok();
  if (!failed && waiting->empty() && unwritten_.empty()) {
    next_probe_ = absl::InfiniteFuture();
  } else if (next_probe_ == absl::InfiniteFuture()) {
    next_probe_ = environment_.clock->Now() + options_.probe_interval;
  }
}

// Whether there is room for another checkpoint: weights, two moments and the averages, each of the
// size of the model.
bool JobRunner::HasRoom(int64_t job) const {
  const auto record = environment_.store->Get(job);
  if (!record.ok()) return false;
  const int64_t copies = 3 + record->training().ema_decays_size();
  const int64_t bytes = copies * TreeBytes(environment_.state->base_model(job)) + kRoomBytes;
  return HasRoomFor(environment_.state->jobs(), bytes);
}

absl::Status JobRunner::StartJobs() {
  for (const JobState state : {TrainingJob::CANCELLING, TrainingJob::RUNNING}) {
    ASSIGN_OR_RETURN(const std::vector<int64_t> jobs, environment_.store->InState(state));
    for (const int64_t job : jobs) {
      if (!IsBusy(job)) RETURN_IF_ERROR(Resume(job));
    }
  }
  ASSIGN_OR_RETURN(const std::vector<int64_t> queued,
                   environment_.store->InState(TrainingJob::QUEUED));
  for (const int64_t job : queued) {
    if (IsFull() || !HasDevice()) break;
    if (IsBusy(job)) continue;
    // This fails if a caller has just paused or cancelled it.
    const absl::Status started = environment_.store->Apply(job, JobAction::kStart).status();
    if (started.ok()) Launch(job);
    if (IsDiskError(started)) return started;
  }
  return absl::OkStatus();
}

// Continues a job that was running when the server ended, or that was rolled back.
absl::Status JobRunner::Resume(int64_t job) {
  ASSIGN_OR_RETURN(const JobStatus status, environment_.store->Status(job));
  if (RequestOf(status) != StopRequest::kNone) {
    Apply(job, JobAction::kStop);
  } else if (IsFull()) {
    Apply(job, JobAction::kRequeue, "the server now runs fewer jobs at once than before");
  } else if (!HasDevice()) {
    Apply(job, JobAction::kRequeue, EndOfWork(DeviceFailedError()).reason);
  } else {
    Launch(job);
  }
  return absl::OkStatus();
}

bool JobRunner::IsBusy(int64_t job) const {
  if (unwritten_.contains(job)) return true;
  for (const Run& run : runs_) {
    if (run.job == job) return true;
  }
  return false;
}

// The beginning of a run is recorded before the run does anything that could kill the server.
void JobRunner::Launch(int64_t job) {
  if (unrecorded_ends_.contains(job)) RecordCleanEnd(job);
  const absl::StatusOr<int> lost_runs = environment_.store->BeginRun(job);
  if (!lost_runs.ok()) return RefuseLaunch(job, lost_runs.status());
  if (*lost_runs >= kMaxLostRuns) return Apply(job, JobAction::kFail, ReasonOfLostRuns(job));
  Run run{.job = job,
          .loaded = {},
          .wakeable = std::make_shared<std::atomic<Engine::TaskId>>(0),
          .ended = std::make_shared<std::atomic<bool>>(false)};
  const int device = environment_.engine->LeastLoadedDevice();
  auto loaded = LoadRun(
      environment_, job, device,
      [engine = environment_.engine, task = run.wakeable] { engine->Wake(*task); },
      [this, ended = run.ended] {
        *ended = true;
        Notify();
      });
  if (!loaded.ok()) {
    RecordCleanEnd(job);
    return RefuseLaunch(job, loaded.status());
  }
  run.loaded = *std::move(loaded);
  const auto status = environment_.store->Status(job);  // it may have changed while loading
  if (status.ok()) run.loaded.task->RequestStop(RequestOf(*status));
  run.task = environment_.engine->AddTask(run.loaded.task, device, run.loaded.priority);
  *run.wakeable = run.task;
  environment_.engine->Wake(run.task);  // for what was written before the task had an id
  runs_.push_back(std::move(run));
}

// A device that has failed before the engine has used it is noticed here first. The next pass finds
// another device, or none.
void JobRunner::RefuseLaunch(int64_t job, const absl::Status& status) {
  if (GetErrorReason(status) == kDeviceFailedReason) {
    environment_.engine->CheckDevices();
    Apply(job, JobAction::kRequeue, EndOfWork(status).reason);
    return Retry("a job could not be started", status);
  }
  ReportError("a job could not be started", status);
  if (IsDiskError(status)) {
    Apply(job, JobAction::kDiskFull, std::string(status.message()));
  } else {
    Apply(job, JobAction::kFail, ReasonOf(status));
  }
}

std::string JobRunner::ReasonOfLostRuns(int64_t job) const {
  const auto record = environment_.store->Get(job);
  const bool trains = record.ok() && record->has_training();
  return absl::StrCat("the server ended, the device failed or a rank was lost ", kMaxLostRuns,
                      " times while running this job",
                      trains ? " without saving a new checkpoint; a smaller micro_batch_size takes "
                               "less memory, a smaller checkpoints.every_n_steps loses less"
                             : "; it may need more memory than the server has");
}

// Settles the runs that have ended by themselves. The others resume when the server starts again.
void JobRunner::EndRuns(absl::Time deadline) {
  for (Run& run : runs_) {
    const auto status = environment_.store->Status(run.job);
    const bool discard = status.ok() && status->state == TrainingJob::CANCELLING;
    run.loaded.task->RequestStop(discard ? StopRequest::kDiscard : StopRequest::kSave);
    environment_.engine->Wake(run.task);
  }
  for (Run& run : runs_) {
    AwaitEnd(run, deadline);
    TakeOffEngine(run);
    const bool by_itself = *run.ended && run.loaded.task->end().kind != RunEnd::Kind::kStopped;
    if (by_itself || RequestedByCaller(run)) Settle(run);
  }
  runs_.clear();
}

void JobRunner::AwaitEnd(const Run& run, absl::Time deadline) {
  const MutexLock lock(mutex_);
  while (!*run.ended && environment_.clock->Now() < deadline) {
    environment_.clock->WaitUntil(changed_, mutex_, deadline);
  }
}

bool JobRunner::RequestedByCaller(const Run& run) const {
  const auto status = environment_.store->Status(run.job);
  return *run.ended && status.ok() && RequestOf(*status) != StopRequest::kNone;
}

void JobRunner::Retry(std::string_view what, const absl::Status& status) {
  store_failed_ = true;
  ReportError(what, status);
}

void JobRunner::ReportError(std::string_view what, const absl::Status& status) const {
  if (environment_.observer != nullptr) environment_.observer->OnError(what, status);
}

}  // namespace denoise
