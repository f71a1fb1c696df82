// The tables `jobs` and `events`. Part of JobStore: everything here runs inside its transactions
// and may throw SQLite::Exception.
#pragma once

#include <SQLiteCpp/Database.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "denoised/v1/training.pb.h"
#include "server/jobs/store/job_state.h"

namespace denoise {

// The step that an event belongs to; each step has at most one event of each kind. nullopt for
// events that may be repeated.
std::optional<int64_t> StepOf(const denoised::v1::TrainingEvent& event);

// The event of this kind and step; nullopt where there is none.
absl::StatusOr<std::optional<denoised::v1::TrainingEvent>> FindEvent(
    SQLite::Database& connection, int64_t job, denoised::v1::TrainingEvent::EventCase kind,
    int64_t step);

// Appends an event with the job's next sequence number and `now` as its time. False: there is an
// event of that kind and step already.
bool AppendEvent(SQLite::Database& connection, int64_t job, denoised::v1::TrainingEvent event,
                 absl::Time now);

// The events with a sequence number above `after`, in order. DataLoss where a row is no event.
absl::StatusOr<std::vector<denoised::v1::TrainingEvent>> ReadEvents(SQLite::Database& connection,
                                                                    int64_t job, int64_t after,
                                                                    int limit);

// After a roll-back: keeps the events of later steps in the log, but detaches them from their
// steps, which will be repeated with other results.
void DetachEventsBeyondRollBack(SQLite::Database& connection, int64_t job);

absl::Status JobNotFound(int64_t id);

// NotFound where there is no such job.
absl::StatusOr<JobStatus> ReadJobStatus(SQLite::Database& connection, int64_t id);
// Sets the start and end times, too, as the state requires.
void WriteJobStatus(SQLite::Database& connection, int64_t id, const JobStatus& status,
                    absl::Time now);

// The whole job, with its newest progress and evaluation. NotFound; DataLoss where the row is no
// job.
absl::StatusOr<denoised::v1::TrainingJob> ReadJob(SQLite::Database& connection, int64_t id);
// The same without the sheet of the evaluation, which is large and is not read.
absl::StatusOr<denoised::v1::TrainingJob> ReadListedJob(SQLite::Database& connection, int64_t id);

// Updates the job from its progress, checkpoints and evaluations. `is_new`: the event was appended.
void UpdateFromEvent(SQLite::Database& connection, int64_t id,
                     const denoised::v1::TrainingEvent& event, bool is_new);

}  // namespace denoise
