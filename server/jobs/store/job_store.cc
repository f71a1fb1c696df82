#include "server/jobs/store/job_store.h"

#include <SQLiteCpp/Statement.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/error_details.h"
#include "core/base/paging.h"
#include "core/base/status_macros.h"
#include "denoised/v1/datasets.pb.h"
#include "server/jobs/store/columns.h"
#include "server/jobs/store/job_tables.h"
#include "server/jobs/store/resource_names.h"

namespace denoise {
namespace {

using denoised::v1::Dataset;
using denoised::v1::TrainingEvent;
using denoised::v1::TrainingJob;

TrainingEvent StateEvent(const JobStatus& status) {
  TrainingEvent event;
  event.mutable_state_change()->set_state(status.state);
  event.mutable_state_change()->set_reason(status.reason);
  return event;
}

struct RequestRow {
  int64_t job;
  std::string hash;
};

std::optional<RequestRow> ReadRequest(SQLite::Database& connection, const std::string& tenant,
                                      const std::string& request_id) {
  if (request_id.empty()) return std::nullopt;
  SQLite::Statement row(connection,
                        "SELECT id, request_hash FROM jobs WHERE tenant = ? AND request_id = ?");
  row.bind(1, tenant);
  row.bind(2, request_id);
  if (!row.executeStep()) return std::nullopt;
  return RequestRow{row.getColumn(0).getInt64(), row.getColumn(1).getString()};
}

absl::Status RequestIdUsed() {
  return absl::AlreadyExistsError("request_id was used for another request");
}

absl::Status CheckRoomInQueue(SQLite::Database& connection, int max_waiting) {
  SQLite::Statement row(connection, "SELECT count(*) FROM jobs WHERE state = ?");
  row.bind(1, static_cast<int>(TrainingJob::QUEUED));
  row.executeStep();
  if (row.getColumn(0).getInt() < max_waiting) return absl::OkStatus();
  return QuotaExceeded(
      "trainingJobs", absl::StrCat(max_waiting,
                                   " training jobs are already queued, the maximum; cancel one, or "
                                   "wait for one to start"));
}

void InsertJob(SQLite::Database& connection, const JobStore::NewJob& job, absl::Time now) {
  SQLite::Statement row(
      connection,
      "INSERT INTO jobs (id, state, reason, pause_requested, pause_end, priority, request_id,"
      " request_hash, job, create_time, steps_done, last_sequence, tenant)"
      " VALUES (?, ?, '', 0, 0, ?, ?, ?, ?, ?, 0, 0, ?)");
  row.bind(1, job.id);
  row.bind(2, static_cast<int>(TrainingJob::QUEUED));
  row.bind(3, job.job.priority());
  if (!job.request_id.empty()) row.bind(4, job.request_id);
  row.bind(5, job.request_hash);
  BindMessage(row, 6, job.job);
  BindTime(row, 7, now);
  row.bind(8, job.job.tenant());
  row.exec();
}

absl::Status ReferToDataSet(SQLite::Database& connection, int64_t job, int64_t data_set) {
  SQLite::Statement ready(connection, "SELECT 1 FROM data_sets WHERE id = ? AND state = ?");
  ready.bind(1, data_set);
  ready.bind(2, static_cast<int>(Dataset::READY));
  if (!ready.executeStep()) return absl::FailedPreconditionError("the data set has been deleted");
  SQLite::Statement row(connection, "INSERT INTO job_data_sets (job, data_set) VALUES (?, ?)");
  row.bind(1, job);
  row.bind(2, data_set);
  row.exec();
  return absl::OkStatus();
}

// Nothing where it has gone, or has failed: the job then says so when it is resumed.
void ReferToFoundDataSet(SQLite::Database& connection, int64_t job, const std::string& name) {
  SQLite::Statement row(connection,
                        "INSERT INTO job_data_sets (job, data_set)"
                        " SELECT ?, id FROM data_sets WHERE name = ?");
  row.bind(1, job);
  row.bind(2, name);
  row.exec();
}

std::vector<int64_t> ReadIds(SQLite::Statement& rows) {
  std::vector<int64_t> ids;
  while (rows.executeStep()) ids.push_back(rows.getColumn(0).getInt64());
  return ids;
}

std::string ListQuery(const std::vector<JobState>& states) {
  std::string query = "SELECT id FROM jobs WHERE (?1 = 0 OR id < ?1) AND (?3 = 1 OR tenant = ?4)";
  if (!states.empty()) {
    const auto number = [](std::string* out, JobState state) {
      absl::StrAppend(out, static_cast<int>(state));
    };
    absl::StrAppend(&query, " AND state IN (", absl::StrJoin(states, ", ", number), ")");
  }
  return query.append(" ORDER BY id DESC LIMIT ?2");
}

}  // namespace

absl::StatusOr<int64_t> JobStore::ReserveId() {
  return database_->Write([&](SQLite::Database& connection) -> absl::StatusOr<int64_t> {
    connection.exec(
        "INSERT INTO ids (kind, last) VALUES ('job', 1)"
        " ON CONFLICT (kind) DO UPDATE SET last = last + 1");
    return connection.execAndGet("SELECT last FROM ids WHERE kind = 'job'").getInt64();
  });
}

absl::StatusOr<TrainingJob> JobStore::Create(const NewJob& job) {
  const absl::Time now = clock_->Now();
  return database_->Write([&](SQLite::Database& connection) -> absl::StatusOr<TrainingJob> {
    if (ReadRequest(connection, job.job.tenant(), job.request_id)) return RequestIdUsed();
    RETURN_IF_ERROR(CheckRoomInQueue(connection, job.max_waiting));
    InsertJob(connection, job, now);
    for (const int64_t data_set : job.data_sets) {
      RETURN_IF_ERROR(ReferToDataSet(connection, job.id, data_set));
    }
    AppendEvent(connection, job.id, StateEvent(JobStatus{}), now);
    return ReadJob(connection, job.id);
  });
}

absl::Status JobStore::Adopt(const AdoptedJob& found) {
  const absl::Time now = clock_->Now();
  return database_->WriteFreeing([&](SQLite::Database& connection) -> absl::Status {
    NewJob job = {.id = found.id,
                  .request_id = found.request_id,
                  .request_hash = found.request_hash,
                  .job = found.job};
    if (ReadRequest(connection, job.job.tenant(), job.request_id)) job.request_id.clear();
    InsertJob(connection, job, found.create_time);
    SQLite::Statement ids(connection,
                          "INSERT INTO ids (kind, last) VALUES ('job', ?1)"
                          " ON CONFLICT (kind) DO UPDATE SET last = max(last, ?1)");
    ids.bind(1, found.id);
    ids.exec();
    ReferToFoundDataSet(connection, found.id, found.data_set);
    for (const TrainingEvent& checkpoint : found.checkpoints) {
      AppendEvent(connection, found.id, checkpoint, now);
      UpdateFromEvent(connection, found.id, checkpoint, /*is_new=*/true);
    }
    const bool is_done =
        found.job.has_training() && !found.checkpoints.empty() &&
        found.checkpoints.back().checkpoint().step() >= found.job.training().max_steps();
    const JobStatus status = {.state = is_done ? TrainingJob::SUCCEEDED : TrainingJob::PAUSED,
                              .reason =
                                  "the server's database had lost the job; its files were "
                                  "found again"};
    WriteJobStatus(connection, found.id, status, now);
    AppendEvent(connection, found.id, StateEvent(status), now);
    return absl::OkStatus();
  });
}

absl::StatusOr<TrainingJob> JobStore::GetCreated(int64_t id) const {
  return database_->Read([&](SQLite::Database& connection) -> absl::StatusOr<TrainingJob> {
    SQLite::Statement row(connection, "SELECT job FROM jobs WHERE id = ?");
    row.bind(1, id);
    if (!row.executeStep()) return JobNotFound(id);
    return ParseMessage<TrainingJob>(row.getColumn(0));
  });
}

absl::Status JobStore::CheckRoom(int max_waiting) const {
  return database_->Read(
      [&](SQLite::Database& connection) { return CheckRoomInQueue(connection, max_waiting); });
}

absl::StatusOr<std::optional<TrainingJob>> JobStore::FindRequest(
    const std::string& tenant, const std::string& request_id,
    const std::string& request_hash) const {
  return database_->Read(
      [&](SQLite::Database& connection) -> absl::StatusOr<std::optional<TrainingJob>> {
        const std::optional<RequestRow> request = ReadRequest(connection, tenant, request_id);
        if (!request) return std::nullopt;
        if (request->hash != request_hash) return RequestIdUsed();
        ASSIGN_OR_RETURN(TrainingJob job, ReadJob(connection, request->job));
        return job;
      });
}

absl::StatusOr<TrainingJob> JobStore::Get(int64_t id) const {
  return database_->Read([&](SQLite::Database& connection) { return ReadJob(connection, id); });
}

absl::StatusOr<std::string> JobStore::TenantOf(int64_t id) const {
  return database_->Read([&](SQLite::Database& connection) -> absl::StatusOr<std::string> {
    SQLite::Statement row(connection, "SELECT tenant FROM jobs WHERE id = ?");
    row.bind(1, id);
    if (!row.executeStep()) return JobNotFound(id);
    return row.getColumn(0).getString();
  });
}

absl::StatusOr<JobStore::Page> JobStore::List(const Identity& viewer,
                                              const std::vector<JobState>& states,
                                              int64_t before_id, int limit) const {
  return database_->Read([&](SQLite::Database& connection) -> absl::StatusOr<Page> {
    SQLite::Statement rows(connection, ListQuery(states));
    rows.bind(1, before_id);
    rows.bind(2, limit + 1);  // one more than the page holds tells whether another follows
    rows.bind(3, static_cast<int>(viewer.sees_all));
    rows.bind(4, viewer.tenant);
    const std::vector<int64_t> ids = ReadIds(rows);
    Page page;
    size_t bytes = 0;
    for (const int64_t id : ids) {
      ASSIGN_OR_RETURN(TrainingJob job, ReadListedJob(connection, id));
      bytes += job.ByteSizeLong();
      page.more = static_cast<int>(page.jobs.size()) == limit ||
                  (bytes > kMaxPageBytes && !page.jobs.empty());
      if (page.more) break;
      page.jobs.push_back(std::move(job));
    }
    return page;
  });
}

absl::StatusOr<JobStatus> JobStore::Apply(int64_t id, JobAction action, const std::string& reason) {
  const absl::Time now = clock_->Now();
  bool changed = false;
  auto result = database_->Write([&](SQLite::Database& connection) -> absl::StatusOr<JobStatus> {
    ASSIGN_OR_RETURN(const JobStatus before, ReadJobStatus(connection, id));
    ASSIGN_OR_RETURN(JobStatus after, NextStatus(before, action, reason));
    if (after == before) return after;
    WriteJobStatus(connection, id, after, now);
    changed = after.state != before.state;
    const bool is_news = changed || after.reason != before.reason;
    if (is_news) AppendEvent(connection, id, StateEvent(after), now);
    return after;
  });
  if (!result.ok()) return result;
  feed_->Notify(id);
  if (changed && observer_ != nullptr) {
    observer_->OnJobState(JobName(id), result->state, result->reason);
  }
  return result;
}

absl::StatusOr<JobStatus> JobStore::Status(int64_t id) const {
  return database_->Read(
      [&](SQLite::Database& connection) { return ReadJobStatus(connection, id); });
}

absl::Status JobStore::Delete(int64_t id) {
  const auto delete_row = [&](SQLite::Database& connection) -> absl::Status {
    ASSIGN_OR_RETURN(const JobStatus status, ReadJobStatus(connection, id));
    if (!IsOver(status.state)) {
      return absl::FailedPreconditionError(
          absl::StrCat("the job is ", TrainingJob::State_Name(status.state),
                       "; cancel it first, and delete it once it is over"));
    }
    SQLite::Statement row(connection, "DELETE FROM jobs WHERE id = ?");
    row.bind(1, id);
    row.exec();
    return absl::OkStatus();
  };
  const absl::Status deleted = database_->WriteFreeing(delete_row);
  if (deleted.ok()) feed_->Notify(id);
  return deleted;
}

absl::Status JobStore::AddEvent(int64_t id, TrainingEvent event) {
  const absl::Time now = clock_->Now();
  const absl::Status added = database_->Write([&](SQLite::Database& connection) -> absl::Status {
    RETURN_IF_ERROR(ReadJobStatus(connection, id).status());
    const bool is_new = AppendEvent(connection, id, event, now);
    UpdateFromEvent(connection, id, event, is_new);
    return absl::OkStatus();
  });
  if (added.ok()) feed_->Notify(id);
  return added;
}

absl::Status JobStore::SetLatestCheckpoint(int64_t id, std::optional<int64_t> step) {
  return database_->Write([&](SQLite::Database& connection) -> absl::Status {
    SQLite::Statement row(connection, "UPDATE jobs SET checkpoint_step = ? WHERE id = ?");
    BindOptional(row, 1, step);
    row.bind(2, id);
    row.exec();
    return absl::OkStatus();
  });
}

absl::StatusOr<bool> JobStore::RollBackOnce(int64_t id, const std::string& notice) {
  const absl::Time now = clock_->Now();
  const auto rolled_back =
      database_->Write([&](SQLite::Database& connection) -> absl::StatusOr<bool> {
        SQLite::Statement row(connection,
                              "UPDATE jobs SET rolled_back_to = ifnull(checkpoint_step, 0), "
                              "steps_done = ifnull(checkpoint_step, 0), evaluation = NULL "
                              "WHERE id = ? AND rolled_back_to IS NULL");
        row.bind(1, id);
        if (row.exec() == 0) return false;
        DetachEventsBeyondRollBack(connection, id);
        TrainingEvent event;
        event.set_notice(notice);
        AppendEvent(connection, id, std::move(event), now);
        return true;
      });
  if (rolled_back.ok()) feed_->Notify(id);
  return rolled_back;
}

absl::StatusOr<std::optional<int64_t>> JobStore::RolledBackTo(int64_t id) const {
  return database_->Read(
      [&](SQLite::Database& connection) -> absl::StatusOr<std::optional<int64_t>> {
        SQLite::Statement row(connection, "SELECT rolled_back_to FROM jobs WHERE id = ?");
        row.bind(1, id);
        if (!row.executeStep()) return JobNotFound(id);
        if (row.isColumnNull(0)) return std::nullopt;
        return row.getColumn(0).getInt64();
      });
}

absl::StatusOr<int> JobStore::BeginRun(int64_t id) {
  return database_->Write([&](SQLite::Database& connection) -> absl::StatusOr<int> {
    SQLite::Statement lost(connection, "SELECT lost_runs FROM jobs WHERE id = ?");
    lost.bind(1, id);
    if (!lost.executeStep()) return JobNotFound(id);
    const int runs = lost.getColumn(0).getInt();
    SQLite::Statement row(connection, "UPDATE jobs SET lost_runs = lost_runs + 1 WHERE id = ?");
    row.bind(1, id);
    row.exec();
    return runs;
  });
}

absl::Status JobStore::EndRun(int64_t id) {
  return database_->Write([&](SQLite::Database& connection) -> absl::Status {
    SQLite::Statement row(connection,
                          "UPDATE jobs SET lost_runs = max(lost_runs - 1, 0) WHERE id = ?");
    row.bind(1, id);
    row.exec();
    return absl::OkStatus();
  });
}

absl::StatusOr<std::optional<TrainingEvent>> JobStore::FindEvent(int64_t id,
                                                                 TrainingEvent::EventCase kind,
                                                                 int64_t step) const {
  return database_->Read(
      [&](SQLite::Database& connection) { return denoise::FindEvent(connection, id, kind, step); });
}

absl::StatusOr<JobStore::Events> JobStore::EventsAfter(int64_t id, int64_t after, int limit) const {
  return database_->Read([&](SQLite::Database& connection) -> absl::StatusOr<Events> {
    ASSIGN_OR_RETURN(const JobStatus status, ReadJobStatus(connection, id));
    Events result;
    ASSIGN_OR_RETURN(result.events, ReadEvents(connection, id, after, limit));
    const int64_t last = result.events.empty() ? after : result.events.back().sequence();
    SQLite::Statement row(connection, "SELECT last_sequence FROM jobs WHERE id = ?");
    row.bind(1, id);
    row.executeStep();
    result.over = IsOver(status.state) && last >= row.getColumn(0).getInt64();
    return result;
  });
}

absl::StatusOr<std::vector<int64_t>> JobStore::InState(JobState state) const {
  return database_->Read([&](SQLite::Database& connection) -> absl::StatusOr<std::vector<int64_t>> {
    SQLite::Statement rows(connection,
                           "SELECT id FROM jobs WHERE state = ? ORDER BY priority DESC, id");
    rows.bind(1, static_cast<int>(state));
    return ReadIds(rows);
  });
}

absl::StatusOr<std::vector<int64_t>> JobStore::WaitingForRoom() const {
  return database_->Read([&](SQLite::Database& connection) -> absl::StatusOr<std::vector<int64_t>> {
    SQLite::Statement rows(connection,
                           "SELECT id FROM jobs WHERE state = ? AND pause_end = ? ORDER BY id");
    rows.bind(1, static_cast<int>(TrainingJob::PAUSED));
    rows.bind(2, static_cast<int>(PauseEnd::kRoomOnDisk));
    return ReadIds(rows);
  });
}

absl::StatusOr<bool> JobStore::Exists(int64_t id) const {
  const absl::Status status = Status(id).status();
  if (absl::IsNotFound(status)) return false;
  if (!status.ok()) return status;
  return true;
}

}  // namespace denoise
