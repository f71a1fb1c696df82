#include "server/jobs/store/event_log.h"

#include <SQLiteCpp/Statement.h>

#include <string>
#include <utility>

#include "core/base/status_macros.h"
#include "server/jobs/store/columns.h"

namespace denoise {
namespace {

using denoised::v1::TrainingEvent;

// What a watcher is handed at a time; grids of pictures are large.
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

void DisownEventsBeyondRollBack(SQLite::Database& connection, int64_t job) {
  SQLite::Statement row(connection,
                        "UPDATE events SET step = NULL WHERE job = ?1 AND step > "
                        "(SELECT rolled_back_to FROM jobs WHERE id = ?1)");
  row.bind(1, job);
  row.exec();
}

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

}  // namespace denoise
