#include "server/jobs/job_rows.h"

#include <SQLiteCpp/Statement.h>

#include <optional>
#include <utility>

#include "core/base/error_details.h"
#include "core/base/status_macros.h"
#include "server/jobs/columns.h"
#include "server/jobs/event_log.h"
#include "server/jobs/resource_names.h"

namespace denoise {
namespace {

using denoised::v1::TrainingEvent;
using denoised::v1::TrainingJob;

// The newest of what is told in events.
absl::Status AddFromEvents(SQLite::Database& connection, int64_t id, TrainingJob& job) {
  ASSIGN_OR_RETURN(auto progress, NewestEvent(connection, id, TrainingEvent::kProgress));
  if (progress) *job.mutable_progress() = std::move(*progress->mutable_progress());
  ASSIGN_OR_RETURN(auto evaluation, NewestEvent(connection, id, TrainingEvent::kEvaluation));
  if (evaluation) *job.mutable_evaluation_result() = std::move(*evaluation->mutable_evaluation());
  return absl::OkStatus();
}

}  // namespace

absl::Status JobNotFound(int64_t id) { return ResourceNotFound("training job", JobName(id)); }

absl::StatusOr<JobStatus> ReadJobStatus(SQLite::Database& connection, int64_t id) {
  SQLite::Statement row(connection,
                        "SELECT state, reason, pause_requested, pause_end FROM jobs WHERE id = ?");
  row.bind(1, id);
  if (!row.executeStep()) return JobNotFound(id);
  return JobStatus{.state = static_cast<JobState>(row.getColumn(0).getInt()),
                   .reason = row.getColumn(1).getString(),
                   .pause_requested = row.getColumn(2).getInt() != 0,
                   .pause_end = static_cast<PauseEnd>(row.getColumn(3).getInt())};
}

void WriteJobStatus(SQLite::Database& connection, int64_t id, const JobStatus& status,
                    absl::Time now) {
  SQLite::Statement row(connection,
                        "UPDATE jobs SET state = ?, reason = ?, pause_requested = ?, pause_end = ?,"
                        " start_time = ifnull(start_time, ?), end_time = ? WHERE id = ?");
  row.bind(1, static_cast<int>(status.state));
  row.bind(2, status.reason);
  row.bind(3, static_cast<int>(status.pause_requested));
  row.bind(4, static_cast<int>(status.pause_end));
  if (status.state == TrainingJob::RUNNING) BindTime(row, 5, now);
  if (IsOver(status.state)) BindTime(row, 6, now);
  row.bind(7, id);
  row.exec();
}

absl::StatusOr<TrainingJob> ReadJob(SQLite::Database& connection, int64_t id) {
  SQLite::Statement row(connection,
                        "SELECT job, state, reason, create_time, start_time, end_time, steps_done,"
                        " checkpoint_step FROM jobs WHERE id = ?");
  row.bind(1, id);
  if (!row.executeStep()) return JobNotFound(id);
  ASSIGN_OR_RETURN(TrainingJob job, ParseMessage<TrainingJob>(row.getColumn(0)));
  job.set_name(JobName(id));
  job.set_state(static_cast<JobState>(row.getColumn(1).getInt()));
  job.set_state_reason(row.getColumn(2).getString());
  SetTimestamp(TimeFromColumn(row.getColumn(3)), *job.mutable_create_time());
  if (!row.isColumnNull(4)) {
    SetTimestamp(TimeFromColumn(row.getColumn(4)), *job.mutable_start_time());
  }
  if (!row.isColumnNull(5)) {
    SetTimestamp(TimeFromColumn(row.getColumn(5)), *job.mutable_end_time());
  }
  job.set_steps_done(row.getColumn(6).getInt64());
  if (!row.isColumnNull(7)) {
    job.set_latest_checkpoint(CheckpointName({id, row.getColumn(7).getInt64()}));
  }
  RETURN_IF_ERROR(AddFromEvents(connection, id, job));
  return job;
}

}  // namespace denoise
