// Runs jobs on the engine: those that wait, by priority and age, as many at once as may; and those
// that were running when the server ended.
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

// A job under which the server ends this often, without a further checkpoint in between, FAILED: what
// it takes may be what ends the server, for ever. More than an operator kills a server in a row, and
// few enough to be over soon.
inline constexpr int kMaxLostRuns = 10;

// What is asked of a job is written to the store first; the runner reads it there. Thread-safe.
class JobRunner {
 public:
  struct Options {
    int max_running_jobs = 1;
    absl::Duration probe_interval = absl::Seconds(30);  // of a disk that was full
  };

  // Starts the runner's thread. What `environment` points to outlives it.
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
  void EndRuns(absl::Time deadline);
  void AwaitEnd(const Run& run, absl::Time deadline) ABSL_LOCKS_EXCLUDED(mutex_);
  void Take(Run& run);
  void NoteEndInOrder(int64_t job);
  // Writes what became of a job; later, where the disk does not take it now.
  void Write(int64_t job, std::function<absl::Status()> write);
  void Apply(int64_t job, JobAction action, const std::string& reason = "");
  absl::Status RollBackOrFail(int64_t job, const std::string& reason);
  bool IsBusy(int64_t job) const;
  bool IsFull() const { return static_cast<int>(runs_.size()) >= options_.max_running_jobs; }
  bool HasRoom(int64_t job) const;
  // That it has stopped is what somebody asked for.
  bool RequestedByCaller(const Run& run) const;
  // Reports a failure of the store, and asks for another pass with the next probe of the disk.
  void Retry(std::string_view what, const absl::Status& status);
  void Trouble(std::string_view what, const absl::Status& status) const;

  const RunEnvironment environment_;
  const Options options_;

  // Of the runner's thread.
  Runs runs_;
  std::map<int64_t, std::function<absl::Status()>> unwritten_;
  // Jobs whose run ended in order, which the disk did not take then: or it would count as lost.
  std::set<int64_t> unnoted_ends_;
  // When to look at the disk again; infinite where nothing waits for it.
  absl::Time next_probe_;
  bool store_failed_ = false;  // in this pass of the loop, which is tried again with the next probe

  Mutex mutex_;
  CondVar changed_;
  bool notified_ ABSL_GUARDED_BY(mutex_) = true;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Time deadline_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  std::thread thread_;  // the last member: it uses all others
};

}  // namespace denoise
