// A data set as one file: made once, never changed, read at random from many threads.
//
// It is an SQLite database, which any SQLite opens:
//
//     classes   label, name
//     pictures  id (from 0), label, name: as in the upload, for people
//     encoded   id, crc32, bytes: PNG, JPEG or WebP
//     meta      key, value: what was promised when it was finished
//
// `sqlite3 FILE "SELECT writefile(id || '.png', bytes) FROM encoded"` takes the pictures out again.
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

// Opens what DataSetWriter has finished, and reads all labels and names once to check them. NotFound:
// no such file. DataLoss: it is no data set, not a whole one, or damaged. Pictures are checked as
// they are read. Messages do not contain the path.
absl::StatusOr<std::shared_ptr<const DataSet>> OpenDataSet(const std::filesystem::path& path);

// Writes a data set. Until Commit returns OK there is no file of that name, only an unfinished one
// beside it, which the destructor removes and which the next writer of that name replaces. One writer
// of a name at a time. Not thread-safe. Errors: ResourceExhausted where the disk is full, else
// Unavailable; messages do not contain the path.
class DataSetWriter {
 public:
  // AlreadyExists: there is a file of that name.
  static absl::StatusOr<std::unique_ptr<DataSetWriter>> Create(std::filesystem::path path);
  ~DataSetWriter();
  DataSetWriter(const DataSetWriter&) = delete;
  DataSetWriter& operator=(const DataSetWriter&) = delete;

  // Pictures get ids in the order that they are added in. `group` is any number.
  absl::Status Add(int64_t group, std::string_view name, std::string_view encoded);

  // Gives each picture the label of its group. Nothing can be added any more.
  absl::Status Finish(const std::vector<int64_t>& label_by_group,
                      const std::vector<std::string>& classes);

  // Of the file, as far as it has come; to the byte once it is finished.
  int64_t bytes() const { return bytes_; }

  // What has been finished can be opened and looked at by this name before it is committed.
  const std::filesystem::path& unfinished_path() const { return unfinished_; }

  // Gives the file its name, durably.
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
