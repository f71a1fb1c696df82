// The rows of table `events`. Part of JobStore: everything here runs inside its transactions and may
// throw SQLite::Exception.
#pragma once

#include <SQLiteCpp/Database.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "denoised/v1/training.pb.h"

namespace denoise {

// The step that an event is of, which happens once; nullopt for what may happen more often.
std::optional<int64_t> StepOf(const denoised::v1::TrainingEvent& event);

// Of this kind and step; nullopt where there is none.
absl::StatusOr<std::optional<denoised::v1::TrainingEvent>> FindEvent(
    SQLite::Database& connection, int64_t job, denoised::v1::TrainingEvent::EventCase kind,
    int64_t step);

// Gives it the job's next sequence number, and `now` as its time. False: the event of that kind and
// step is there already.
bool AppendEvent(SQLite::Database& connection, int64_t job, denoised::v1::TrainingEvent event,
                 absl::Time now);

// In order, those with a sequence number above `after`. DataLoss where a row is no event.
absl::StatusOr<std::vector<denoised::v1::TrainingEvent>> ReadEvents(SQLite::Database& connection,
                                                                    int64_t job, int64_t after,
                                                                    int limit);

// Those of steps after the one that the job was rolled back to stay in the log, but are of no step any
// more: these steps will be other ones.
void DisownEventsBeyondRollBack(SQLite::Database& connection, int64_t job);

// Of this kind, the one with the greatest step.
absl::StatusOr<std::optional<denoised::v1::TrainingEvent>> NewestEvent(
    SQLite::Database& connection, int64_t job, denoised::v1::TrainingEvent::EventCase kind);

}  // namespace denoise
