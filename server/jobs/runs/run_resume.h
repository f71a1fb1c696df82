// Resumes training jobs that have run before.
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

// Restores the new `trainer` and `progress` from the newest intact checkpoint, or leaves them at
// the beginning. Adds events for damaged checkpoints, and for one that was written just before the
// server ended. Returns what has been written for that step already. FailedPrecondition: the device
// lacks memory. Unavailable and ResourceExhausted are the disk's.
absl::StatusOr<Due> ResumeRun(const RunHistory& history, Trainer& trainer, RunProgress& progress);

}  // namespace denoise
