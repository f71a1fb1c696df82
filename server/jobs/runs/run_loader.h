// From a job on disk to one that can run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "server/engine/engine.h"
#include "server/jobs/datasets/data_set_store.h"
#include "server/jobs/runs/run_recorder.h"
#include "server/jobs/runs/run_task.h"
#include "server/jobs/store/job_observer.h"
#include "server/jobs/store/job_store.h"
#include "server/jobs/store/state_dir.h"

namespace denoise {

// What jobs need to run. Everything outlives them; `observer` may be null.
struct RunEnvironment {
  const StateDir* state;
  JobStore* store;
  DataSetStore* data_sets;
  Engine* engine;
  const Clock* clock;
  JobObserver* observer;
  std::filesystem::path inception;  // weights for FEATURES_INCEPTION; empty: none
};

struct LoadedRun {
  std::unique_ptr<RunRecorder> recorder;
  std::shared_ptr<RunTask> task;  // goes first
};

// The job as it goes on from its newest good checkpoint, on `device`, an index into the engine's.
// Checkpoints that are damaged become notices. `written` and `ended` are those of RunRecorder and
// RunTask. Slow. Unavailable and ResourceExhausted: the disk; other errors end the job, and are for
// callers where they are InvalidArgument or FailedPrecondition.
absl::StatusOr<LoadedRun> LoadRun(const RunEnvironment& environment, int64_t job, int device,
                                  std::function<void()> written, std::function<void()> ended);

}  // namespace denoise
