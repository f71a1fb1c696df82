// Runs jobs on the engine: first those that were running when the server ended, then queued ones by
// priority and age, up to the configured number at once.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/base/mutex.h"
#include "server/engine/engine.h"
#include "server/jobs/runs/run_loader.h"
#include "server/jobs/store/job_store.h"

namespace denoise {

// A job fails after the server has died, the job's device has failed or a rank was lost, this many
// times in all, while the job ran without saving a new checkpoint: the job is probably what kills
// them. More often than an operator kills a server in a row, and not so often that it takes for
// ever.
inline constexpr int kMaxLostRuns = 10;

// Callers write what they want of a job to the store and notify the runner, which reads it there.
// Thread-safe.
class JobRunner {
 public:
  struct Options {
    int max_running_jobs = 1;
    absl::Duration probe_interval = absl::Seconds(30);  // how often to try a disk that was full
  };

  // Starts the runner's thread. What `environment` points to outlives the runner.
  JobRunner(const RunEnvironment& environment, const Options& options);
  ~JobRunner();  // Stop(now)

  // Tells the runner that something may have changed in the store.
  void Notify() ABSL_LOCKS_EXCLUDED(mutex_);

  // Stops the running jobs where they are. Each saves a checkpoint, unless it has not begun to by
  // `deadline` of the environment's clock. They stay RUNNING in the store. May be called again.
  void Stop(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // A job on a device.
  struct Run {
    int64_t job = 0;
    LoadedRun loaded;
    Engine::TaskId task = 0;
    std::shared_ptr<std::atomic<Engine::TaskId>> wakeable;
    std::shared_ptr<std::atomic<bool>> ended;
  };
  using Runs = std::list<Run>;

  void Loop();
  // Waits for a notification or the next probe of the disk. False: stopped.
  bool WaitForWork() ABSL_LOCKS_EXCLUDED(mutex_);

  // The steps of one pass of the loop, in order.
  void SettleEnded();
  void ProbeDisk();
  void PassOnRequests();
  absl::Status StartJobs();
  void PlanNextProbe();

  absl::Status Resume(int64_t job);
  void Launch(int64_t job);
  void RefuseLaunch(int64_t job, const absl::Status& status);
  std::string ReasonOfLostRuns(int64_t job) const;
  void Settle(const Run& run);
  void AnnounceToRanks(int64_t job) const;
  void EndRuns(absl::Time deadline);
  void AwaitEnd(const Run& run, absl::Time deadline) ABSL_LOCKS_EXCLUDED(mutex_);
  void TakeOffEngine(Run& run);
  void RecordCleanEnd(int64_t job);
  // Writes a job's new state, or does so later if the disk fails now.
  void Write(int64_t job, std::function<absl::Status()> write);
  void Apply(int64_t job, JobAction action, const std::string& reason = "");
  absl::Status RollBackOrFail(int64_t job, const std::string& reason);
  bool IsBusy(int64_t job) const;
  bool IsFull() const { return static_cast<int>(runs_.size()) >= options_.max_running_jobs; }
  bool HasDevice() const { return environment_.engine->WorkingDevices() > 0; }
  bool HasRoom(int64_t job) const;
  // Whether the run has stopped because a caller asked for it.
  bool RequestedByCaller(const Run& run) const;
  // Reports a failure of the store, and plans another pass for the next probe of the disk.
  void Retry(std::string_view what, const absl::Status& status);
  void ReportError(std::string_view what, const absl::Status& status) const;

  const RunEnvironment environment_;
  const Options options_;

  // Used by the runner's thread only.
  Runs runs_;
  std::map<int64_t, std::function<absl::Status()>> unwritten_;
  // Jobs whose run ended cleanly while the disk could not be written: these runs are not lost.
  std::set<int64_t> unrecorded_ends_;
  // When to look at the disk again; infinite where nothing waits for it.
  absl::Time next_probe_;
  bool store_failed_ = false;  // in this pass of the loop

  Mutex mutex_;
  CondVar changed_;
  bool notified_ ABSL_GUARDED_BY(mutex_) = true;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Time deadline_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  std::thread thread_;  // the last member: it uses all others
};

}  // namespace denoise
