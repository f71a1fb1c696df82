// Where a training job goes on that has run before.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "core/train/checkpoint_folder.h"
#include "core/train/trainer.h"
#include "server/jobs/runs/run_progress.h"
#include "server/jobs/runs/run_schedule.h"
#include "server/jobs/store/job_store.h"

namespace denoise {

struct RunHistory {
  JobStore* store;
  CheckpointFolder* checkpoints;
  int64_t job = 0;
  std::vector<double> ema_decays;
};

// Brings `trainer` and `progress`, which are new, to the newest checkpoint that is whole, or leaves
// them at the beginning; tells of checkpoints that are not, and of one that was written last, if the
// server ended before it could. Returns what has been written of that step.
// FailedPrecondition: the device lacks memory. Unavailable, ResourceExhausted: the disk.
absl::StatusOr<Due> ResumeRun(const RunHistory& history, Trainer& trainer, RunProgress& progress);

}  // namespace denoise
