// A data set in one file that is written once and then read by many threads in any order.
//
// It is an SQLite database that any SQLite can open:
//
//     classes   label, name
//     pictures  id (from 0), label, name: as in the upload, for people
//     encoded   id, crc32, bytes: PNG, JPEG or WebP
//     meta      key, value: checksums and counts
//
// `sqlite3 FILE "SELECT writefile(id || '.png', bytes) FROM encoded"` extracts the pictures.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/data/data_set.h"

namespace denoise {

// Opens a data set written by DataSetWriter, and verifies all labels and names. Pictures are
// verified when they are read. NotFound: no such file. DataLoss: not a data set, incomplete, or
// damaged. Unavailable: it cannot be read now. Messages do not contain the path.
absl::StatusOr<std::shared_ptr<const DataSet>> OpenDataSet(const std::filesystem::path& path);

// Writes a data set. Until Commit returns OK, the file has a temporary name beside its final one.
// The destructor removes an uncommitted file; the next writer replaces one left by a crash. Only
// one writer may use a name at a time. Not thread-safe. ResourceExhausted: the disk is full. Other
// errors are Unavailable. Messages do not contain the path.
class DataSetWriter {
 public:
  // AlreadyExists: `path` exists.
  static absl::StatusOr<std::unique_ptr<DataSetWriter>> Create(std::filesystem::path path);
  ~DataSetWriter();
  DataSetWriter(const DataSetWriter&) = delete;
  DataSetWriter& operator=(const DataSetWriter&) = delete;

  // Pictures get ids in the order they are added. `group` is an index into Finish's labels.
  // Requires that Finish has not been called.
  absl::Status Add(int64_t group, std::string_view name, std::string_view encoded);

  // Gives each picture the label of its group. Requires that Finish has not been called.
  absl::Status Finish(const std::vector<int64_t>& label_by_group,
                      const std::vector<std::string>& classes);

  // The current size of the file; exact once it is finished.
  int64_t bytes() const { return bytes_; }

  // The temporary name, by which the file can be opened between Finish and Commit.
  const std::filesystem::path& unfinished_path() const { return unfinished_; }

  // Renames the file to its final name, durably.
  absl::Status Commit();

 private:
  class File;
  DataSetWriter(std::filesystem::path path, std::filesystem::path unfinished);

  const std::filesystem::path path_;
  std::filesystem::path unfinished_;  // empty once there is nothing to remove
  std::unique_ptr<File> file_;
  int64_t bytes_ = 0;
};

}  // namespace denoise
