#include "server/jobs/datasets/data_set_rows.h"

#include <SQLiteCpp/Statement.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "denoised/v1/training.pb.h"
#include "server/jobs/store/columns.h"

namespace denoise {
namespace {

using denoised::v1::Dataset;
using denoised::v1::DatasetReport;
using denoised::v1::TrainingJob;

constexpr char kSelect[] =
    "SELECT id, name, state, format, create_time, upload_time, total_bytes, received_bytes, sha256,"
    " error, report, stored_bytes FROM data_sets ";

absl::StatusOr<DataSetRow> FromRow(SQLite::Statement& row) {
  DataSetRow result;
  result.id = row.getColumn(0).getInt64();
  Dataset& data_set = result.data_set;
  data_set.set_name(row.getColumn(1).getString());
  data_set.set_state(static_cast<Dataset::State>(row.getColumn(2).getInt()));
  data_set.set_format(static_cast<denoised::v1::DatasetFormat>(row.getColumn(3).getInt()));
  SetTimestamp(TimeFromColumn(row.getColumn(4)), *data_set.mutable_create_time());
  result.upload_time = TimeFromColumn(row.getColumn(5));
  data_set.set_total_bytes(row.getColumn(6).getInt64());
  data_set.set_received_bytes(row.getColumn(7).getInt64());
  result.sha256 = row.getColumn(8).getString();
  data_set.set_error(row.getColumn(9).getString());
  if (!row.isColumnNull(10)) {
    ASSIGN_OR_RETURN(*data_set.mutable_report(), ParseMessage<DatasetReport>(row.getColumn(10)));
  }
  result.stored_bytes = row.getColumn(11).getInt64();
  if (data_set.state() == Dataset::READY) data_set.set_stored_bytes(result.stored_bytes);
  return result;
}

absl::StatusOr<std::optional<DataSetRow>> OptionalRow(SQLite::Statement& row) {
  if (!row.executeStep()) return std::nullopt;
  ASSIGN_OR_RETURN(DataSetRow result, FromRow(row));
  return result;
}

}  // namespace

absl::StatusOr<std::optional<DataSetRow>> FindDataSet(SQLite::Database& connection,
                                                      const std::string& name) {
  SQLite::Statement row(connection, absl::StrCat(kSelect, "WHERE name = ?"));
  row.bind(1, name);
  return OptionalRow(row);
}

absl::StatusOr<std::optional<DataSetRow>> ReadDataSet(SQLite::Database& connection, int64_t id) {
  SQLite::Statement row(connection, absl::StrCat(kSelect, "WHERE id = ?"));
  row.bind(1, id);
  return OptionalRow(row);
}

int64_t InsertDataSet(SQLite::Database& connection, const denoised::v1::UploadHeader& header,
                      absl::Time now) {
  SQLite::Statement row(connection,
                        "INSERT INTO data_sets (name, state, format, create_time, upload_time,"
                        " total_bytes, received_bytes, stored_bytes, sha256, error)"
                        " VALUES (?1, ?2, ?3, ?4, ?4, ?5, 0, ?5, ?6, '')");
  row.bind(1, header.name());
  row.bind(2, static_cast<int>(Dataset::UPLOADING));
  row.bind(3, static_cast<int>(header.format()));
  BindTime(row, 4, now);
  row.bind(5, int64_t{header.total_bytes()});
  BindBlob(row, 6, header.sha256());
  row.exec();
  return connection.getLastInsertRowid();
}

void WriteReceivedBytes(SQLite::Database& connection, int64_t id, int64_t bytes, absl::Time now) {
  SQLite::Statement row(connection,
                        "UPDATE data_sets SET received_bytes = ?, upload_time = ? WHERE id = ?");
  row.bind(1, bytes);
  BindTime(row, 2, now);
  row.bind(3, id);
  row.exec();
}

void WriteDataSetState(SQLite::Database& connection, int64_t id, Dataset::State state,
                       const std::string& error, const DatasetReport* report) {
  SQLite::Statement row(connection,
                        "UPDATE data_sets SET state = ?, error = ?, report = ? WHERE id = ?");
  row.bind(1, static_cast<int>(state));
  row.bind(2, error);
  if (report != nullptr) BindMessage(row, 3, *report);
  row.bind(4, id);
  row.exec();
}

void WriteStoredBytes(SQLite::Database& connection, int64_t id, int64_t bytes) {
  SQLite::Statement row(connection, "UPDATE data_sets SET stored_bytes = ? WHERE id = ?");
  row.bind(1, bytes);
  row.bind(2, id);
  row.exec();
}

int CountReading(SQLite::Database& connection, int64_t id) {
  SQLite::Statement lost(connection, "SELECT lost_readings FROM data_sets WHERE id = ?");
  lost.bind(1, id);
  const int readings = lost.executeStep() ? lost.getColumn(0).getInt() : 0;
  SQLite::Statement row(connection,
                        "UPDATE data_sets SET lost_readings = lost_readings + 1 WHERE id = ?");
  row.bind(1, id);
  row.exec();
  return readings;
}

void UncountReading(SQLite::Database& connection, int64_t id) {
  SQLite::Statement row(
      connection, "UPDATE data_sets SET lost_readings = max(lost_readings - 1, 0) WHERE id = ?");
  row.bind(1, id);
  row.exec();
}

int64_t AdoptDataSet(SQLite::Database& connection, const DataSetRow& row) {
  const Dataset& data_set = row.data_set;
  SQLite::Statement insert(connection,
                           "INSERT INTO data_sets (id, name, state, format, create_time,"
                           " upload_time, total_bytes, received_bytes, stored_bytes, sha256, error)"
                           " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '')");
  BindOptional(insert, 1, row.id > 0 ? std::optional(row.id) : std::nullopt);
  insert.bind(2, data_set.name());
  insert.bind(3, static_cast<int>(data_set.state()));
  insert.bind(4, static_cast<int>(data_set.format()));
  BindTime(insert, 5, TimeOf(data_set.create_time()));
  BindTime(insert, 6, row.upload_time);
  insert.bind(7, int64_t{data_set.total_bytes()});
  insert.bind(8, int64_t{data_set.received_bytes()});
  insert.bind(9, row.stored_bytes);
  BindBlob(insert, 10, row.sha256);
  insert.exec();
  return connection.getLastInsertRowid();
}

// Detaches it from jobs that are over.
void DeleteDataSetRow(SQLite::Database& connection, int64_t id) {
  for (const char* statement :
       {"DELETE FROM job_data_sets WHERE data_set = ?", "DELETE FROM data_sets WHERE id = ?"}) {
    SQLite::Statement row(connection, statement);
    row.bind(1, id);
    row.exec();
  }
}

absl::StatusOr<std::vector<DataSetRow>> ListDataSets(SQLite::Database& connection,
                                                     const std::string& prefix,
                                                     const std::string& after, int limit) {
  SQLite::Statement rows(connection,
                         absl::StrCat(kSelect,
                                      "WHERE name > ?1 AND substr(name, 1, length(?2)) = ?2"
                                      " ORDER BY name LIMIT ?3"));
  rows.bind(1, after);
  rows.bind(2, prefix);
  rows.bind(3, limit);
  std::vector<DataSetRow> result;
  while (rows.executeStep()) {
    ASSIGN_OR_RETURN(DataSetRow row, FromRow(rows));
    result.push_back(std::move(row));
  }
  return result;
}

DataSetUsage ReadDataSetUsage(SQLite::Database& connection) {
  SQLite::Statement row(
      connection,
      "SELECT count(*), ifnull(sum(stored_bytes + iif(state IN (?, ?), total_bytes, 0)), 0)"
      " FROM data_sets");
  row.bind(1, static_cast<int>(Dataset::UPLOADING));
  row.bind(2, static_cast<int>(Dataset::READING));
  row.executeStep();
  return {row.getColumn(0).getInt(), row.getColumn(1).getInt64()};
}

std::optional<int64_t> FindUserOfDataSet(SQLite::Database& connection, int64_t id) {
  SQLite::Statement row(
      connection,
      "SELECT job_data_sets.job FROM job_data_sets JOIN jobs ON jobs.id = job_data_sets.job"
      " WHERE data_set = ? AND state NOT IN (?, ?, ?) LIMIT 1");
  row.bind(1, id);
  row.bind(2, static_cast<int>(TrainingJob::SUCCEEDED));
  row.bind(3, static_cast<int>(TrainingJob::FAILED));
  row.bind(4, static_cast<int>(TrainingJob::CANCELLED));
  if (!row.executeStep()) return std::nullopt;
  return row.getColumn(0).getInt64();
}

}  // namespace denoise
