#include "server/jobs/store/job_tables.h"

#include <SQLiteCpp/Statement.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error_details.h"
#include "core/base/status_macros.h"
#include "server/jobs/store/columns.h"
#include "server/jobs/store/resource_names.h"

namespace denoise {
namespace {

using denoised::v1::EvaluationResult;
using denoised::v1::TrainingEvent;
using denoised::v1::TrainingJob;

// How much a watcher reads at a time; grids of pictures are large.
constexpr size_t kMaxReadBytes = 4 << 20;

bool IsThere(SQLite::Database& connection, int64_t job, int kind, int64_t step) {
  SQLite::Statement row(connection, "SELECT 1 FROM events WHERE job = ? AND kind = ? AND step = ?");
  row.bind(1, job);
  row.bind(2, kind);
  row.bind(3, step);
  return row.executeStep();
}

int64_t NextSequence(SQLite::Database& connection, int64_t job) {
  SQLite::Statement row(connection,
                        "UPDATE jobs SET last_sequence = last_sequence + 1 WHERE id = ? "
                        "RETURNING last_sequence");
  row.bind(1, job);
  row.executeStep();
  const int64_t sequence = row.getColumn(0).getInt64();
  while (row.executeStep()) {
  }
  return sequence;
}

// The event of this kind with the greatest step.
absl::StatusOr<std::optional<TrainingEvent>> NewestEvent(SQLite::Database& connection, int64_t job,
                                                         TrainingEvent::EventCase kind) {
  SQLite::Statement row(connection,
                        "SELECT event FROM events WHERE job = ? AND kind = ? "
                        "AND step IS NOT NULL ORDER BY step DESC LIMIT 1");
  row.bind(1, job);
  row.bind(2, kind);
  if (!row.executeStep()) return std::nullopt;
  ASSIGN_OR_RETURN(TrainingEvent event, ParseMessage<TrainingEvent>(row.getColumn(0)));
  return event;
}

// Everything but what the events say. JobOf reads these columns.
constexpr char kJobColumns[] =
    "job, state, reason, create_time, start_time, end_time, steps_done, checkpoint_step, "
    "evaluation";

absl::StatusOr<TrainingJob> JobOf(int64_t id, SQLite::Statement& row) {
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
  if (!row.isColumnNull(8)) {
    ASSIGN_OR_RETURN(*job.mutable_evaluation_result(),
                     ParseMessage<EvaluationResult>(row.getColumn(8)));
  }
  return job;
}

absl::StatusOr<TrainingJob> ReadJobRow(SQLite::Database& connection, int64_t id) {
  SQLite::Statement row(connection,
                        absl::StrCat("SELECT ", kJobColumns, " FROM jobs WHERE id = ?"));
  row.bind(1, id);
  if (!row.executeStep()) return JobNotFound(id);
  ASSIGN_OR_RETURN(TrainingJob job, JobOf(id, row));
  ASSIGN_OR_RETURN(auto progress, NewestEvent(connection, id, TrainingEvent::kProgress));
  if (progress) *job.mutable_progress() = std::move(*progress->mutable_progress());
  return job;
}

absl::Status AddEvaluation(SQLite::Database& connection, int64_t id, TrainingJob& job) {
  ASSIGN_OR_RETURN(auto evaluation, NewestEvent(connection, id, TrainingEvent::kEvaluation));
  if (evaluation) *job.mutable_evaluation_result() = std::move(*evaluation->mutable_evaluation());
  return absl::OkStatus();
}

}  // namespace

std::optional<int64_t> StepOf(const TrainingEvent& event) {
  switch (event.event_case()) {
    case TrainingEvent::kProgress:
      return event.progress().step();
    case TrainingEvent::kSampleGrid:
      return event.sample_grid().step();
    case TrainingEvent::kCheckpoint:
      return event.checkpoint().step();
    case TrainingEvent::kEvaluation:
      return event.evaluation().step();
    default:
      return std::nullopt;
  }
}

bool AppendEvent(SQLite::Database& connection, int64_t job, TrainingEvent event, absl::Time now) {
  const int kind = event.event_case();
  const std::optional<int64_t> step = StepOf(event);
  if (step && IsThere(connection, job, kind, *step)) return false;
  event.set_sequence(NextSequence(connection, job));
  SetTimestamp(now, *event.mutable_time());
  if (event.has_checkpoint()) *event.mutable_checkpoint()->mutable_create_time() = event.time();
  SQLite::Statement row(
      connection, "INSERT INTO events (job, sequence, kind, step, event) VALUES (?, ?, ?, ?, ?)");
  row.bind(1, job);
  row.bind(2, event.sequence());
  row.bind(3, kind);
  BindOptional(row, 4, step);
  BindMessage(row, 5, event);
  row.exec();
  return true;
}

absl::StatusOr<std::vector<TrainingEvent>> ReadEvents(SQLite::Database& connection, int64_t job,
                                                      int64_t after, int limit) {
  SQLite::Statement rows(connection,
                         "SELECT event FROM events WHERE job = ? AND sequence > ? "
                         "ORDER BY sequence LIMIT ?");
  rows.bind(1, job);
  rows.bind(2, after);
  rows.bind(3, limit);
  std::vector<TrainingEvent> events;
  size_t bytes = 0;
  while (rows.executeStep()) {
    bytes += rows.getColumn(0).getBytes();
    if (bytes > kMaxReadBytes && !events.empty()) break;
    ASSIGN_OR_RETURN(TrainingEvent event, ParseMessage<TrainingEvent>(rows.getColumn(0)));
    events.push_back(std::move(event));
  }
  return events;
}

absl::StatusOr<std::optional<TrainingEvent>> FindEvent(SQLite::Database& connection, int64_t job,
                                                       TrainingEvent::EventCase kind,
                                                       int64_t step) {
  SQLite::Statement row(connection,
                        "SELECT event FROM events WHERE job = ? AND kind = ? AND step = ?");
  row.bind(1, job);
  row.bind(2, static_cast<int>(kind));
  row.bind(3, step);
  if (!row.executeStep()) return std::nullopt;
  ASSIGN_OR_RETURN(TrainingEvent event, ParseMessage<TrainingEvent>(row.getColumn(0)));
  return event;
}

void DetachEventsBeyondRollBack(SQLite::Database& connection, int64_t job) {
  SQLite::Statement row(connection,
                        "UPDATE events SET step = NULL WHERE job = ?1 AND step > "
                        "(SELECT rolled_back_to FROM jobs WHERE id = ?1)");
  row.bind(1, job);
  row.exec();
}

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
  ASSIGN_OR_RETURN(TrainingJob job, ReadJobRow(connection, id));
  RETURN_IF_ERROR(AddEvaluation(connection, id, job));
  return job;
}

absl::StatusOr<TrainingJob> ReadListedJob(SQLite::Database& connection, int64_t id) {
  ASSIGN_OR_RETURN(TrainingJob job, ReadJobRow(connection, id));
  if (job.has_evaluation_result()) return job;
  RETURN_IF_ERROR(
      AddEvaluation(connection, id, job));  // from before version 3 of the tables or a roll-back
  if (job.has_evaluation_result()) {
    job.mutable_evaluation_result()->clear_nearest_neighbours_sheet();
  }
  return job;
}

void UpdateFromEvent(SQLite::Database& connection, int64_t id, const TrainingEvent& event,
                     bool is_new) {
  if (event.has_progress()) {
    SQLite::Statement row(connection, "UPDATE jobs SET steps_done = ? WHERE id = ?");
    row.bind(1, event.progress().step());
    row.bind(2, id);
    row.exec();
  } else if (event.has_checkpoint()) {
    SQLite::Statement row(
        connection,
        "UPDATE jobs SET lost_runs = iif(?1 > ifnull(checkpoint_step, 0), 0, lost_runs),"
        " checkpoint_step = ?1, steps_done = max(steps_done, ?1) WHERE id = ?2");
    row.bind(1, event.checkpoint().step());
    row.bind(2, id);
    row.exec();
  } else if (event.has_evaluation() && is_new) {
    EvaluationResult result = event.evaluation();
    result.clear_nearest_neighbours_sheet();
    SQLite::Statement row(connection, "UPDATE jobs SET evaluation = ? WHERE id = ?");
    BindMessage(row, 1, result);
    row.bind(2, id);
    row.exec();
  }
}

}  // namespace denoise
