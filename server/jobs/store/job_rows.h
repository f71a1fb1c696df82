// The rows of table `jobs`. Part of JobStore: everything here runs inside its transactions and may
// throw SQLite::Exception.
#pragma once

#include <SQLiteCpp/Database.h>

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "denoised/v1/training.pb.h"
#include "server/jobs/store/job_state.h"

namespace denoise {

absl::Status JobNotFound(int64_t id);

// NotFound where there is none.
absl::StatusOr<JobStatus> ReadJobStatus(SQLite::Database& connection, int64_t id);
// Start and end times follow from the state.
void WriteJobStatus(SQLite::Database& connection, int64_t id, const JobStatus& status,
                    absl::Time now);

// All of it, with its newest progress and evaluation. NotFound; DataLoss where the row is none.
absl::StatusOr<denoised::v1::TrainingJob> ReadJob(SQLite::Database& connection, int64_t id);
// The same without the sheet of the evaluation, which is not read either: it is large.
absl::StatusOr<denoised::v1::TrainingJob> ReadListedJob(SQLite::Database& connection, int64_t id);

// What progress, checkpoints and evaluations say of the job. `is_new`: the event was not told before.
void UpdateFromEvent(SQLite::Database& connection, int64_t id,
                     const denoised::v1::TrainingEvent& event, bool is_new);

}  // namespace denoise
