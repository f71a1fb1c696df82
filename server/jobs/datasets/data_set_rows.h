// The table `data_sets`. Part of DataSetStore: everything here runs inside its transactions and may
// throw SQLite::Exception.
#pragma once

#include <SQLiteCpp/Database.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "denoised/v1/datasets.pb.h"
#include "server/jobs/datasets/data_set_quota.h"

namespace denoise {

struct DataSetRow {
  int64_t id = 0;
  denoised::v1::Dataset data_set;  // as callers see it, but with its full name
  std::string sha256;              // 32 bytes
  int64_t stored_bytes = 0;        // of its stored pictures, or reserved for them
  absl::Time upload_time;          // when bytes were last received
};

// nullopt where there is none. DataLoss where the row is no data set.
absl::StatusOr<std::optional<DataSetRow>> FindDataSet(SQLite::Database& connection,
                                                      const std::string& full_name);
absl::StatusOr<std::optional<DataSetRow>> ReadDataSet(SQLite::Database& connection, int64_t id);

// Adds a data set that is UPLOADING with nothing received, and reserves as much for its pictures as
// the upload has. `header` has its full name. Returns its id.
int64_t InsertDataSet(SQLite::Database& connection, const denoised::v1::UploadHeader& header,
                      absl::Time now);
void WriteReceivedBytes(SQLite::Database& connection, int64_t id, int64_t bytes, absl::Time now);
void WriteDataSetState(SQLite::Database& connection, int64_t id, denoised::v1::Dataset::State state,
                       const std::string& error, const denoised::v1::DatasetReport* report);
void WriteStoredBytes(SQLite::Database& connection, int64_t id, int64_t bytes);
// Counts a reading that begins. Returns how many began before and did not end.
int CountReading(SQLite::Database& connection, int64_t id);
void UncountReading(SQLite::Database& connection, int64_t id);
// Adds a data set that was found on the disk, with the id that `row` has; 0 chooses one. Returns
// it.
int64_t AdoptDataSet(SQLite::Database& connection, const DataSetRow& row);
void DeleteDataSetRow(SQLite::Database& connection, int64_t id);

// The data sets after `after`, in order of full name, whose names begin with `prefix`.
absl::StatusOr<std::vector<DataSetRow>> ListDataSets(SQLite::Database& connection,
                                                     const std::string& prefix,
                                                     const std::string& after, int limit);

// What uploads and stored pictures take, or have reserved.
DataSetUsage ReadDataSetUsage(SQLite::Database& connection);

// A job that uses the data set and is not over.
std::optional<int64_t> FindUserOfDataSet(SQLite::Database& connection, int64_t id);

}  // namespace denoise
