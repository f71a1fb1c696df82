// Brings the rows of training jobs and their folders together when a server starts.
#pragma once

#include "absl/status/status.h"
#include "server/jobs/store/job_store.h"
#include "server/jobs/store/set_aside.h"
#include "server/jobs/store/state_dir.h"

namespace denoise {

// A folder that no row knows, or that is not what the row of its id says, becomes a job again where
// its manifest describes one: SUCCEEDED if its last checkpoint is there, PAUSED otherwise. It is
// set aside if not. Deletions that were under way are finished, and what was being created is
// removed. Call it after data sets were recovered and before jobs run.
absl::Status RecoverJobs(JobStore& store, const StateDir& state, SetAside& set_aside);

}  // namespace denoise
