// Loads jobs from disk, ready to run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "server/engine/engine.h"
#include "server/jobs/datasets/data_set_store.h"
#include "server/jobs/ranks/rank_gathering.h"
#include "server/jobs/runs/picture_run.h"
#include "server/jobs/runs/run_recorder.h"
#include "server/jobs/runs/run_task.h"
#include "server/jobs/store/job_observer.h"
#include "server/jobs/store/job_store.h"
#include "server/jobs/store/state_dir.h"
#include "server/models/model.h"

namespace denoise {

// What jobs need in order to run. Everything outlives them; `observer` may be null.
struct RunEnvironment {
  const StateDir* state;
  JobStore* store;
  DataSetStore* data_sets;
  Engine* engine;
  const Clock* clock;
  JobObserver* observer;
  std::filesystem::path inception;  // weights for INCEPTION features; empty: none
  RankGatherings* ranks = nullptr;  // null: every job trains alone
};

struct LoadedRun {
  std::unique_ptr<RunRecorder> recorder;
  std::shared_ptr<RunTask> task;  // destroyed first, because it uses the recorder
  int priority = 0;               // the job's, for its task
};

// Loads the job so that it resumes from its newest intact checkpoint on `device`, an index into the
// engine's devices. Damaged checkpoints are reported as notices. `written` and `ended` are those of
// RunRecorder and RunTask. Slow. DeviceFailedError() where the device does not work; otherwise
// Unavailable and ResourceExhausted are the disk's. Other errors end the job, and callers may see
// those that are InvalidArgument or FailedPrecondition.
absl::StatusOr<LoadedRun> LoadRun(const RunEnvironment& environment, int64_t job, int device,
                                  std::function<void()> written, std::function<void()> ended);

// The sample grid of resolved settings.
absl::StatusOr<PictureOrder> GridOf(const denoised::v1::TrainingSettings& settings,
                                    const ModelInfo& model);

}  // namespace denoise
