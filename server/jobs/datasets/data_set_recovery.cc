#include "server/jobs/datasets/data_set_recovery.h"

#include <cerrno>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/file_system_error.h"
#include "core/base/status_macros.h"
#include "core/files/atomic_file.h"
#include "core/files/folders.h"
#include "server/jobs/datasets/data_set_manifest.h"
#include "server/jobs/datasets/data_set_reader.h"
#include "server/jobs/datasets/data_set_rows.h"
#include "server/jobs/store/files.h"
#include "server/jobs/store/id_folders.h"

namespace denoise {
namespace {

using denoised::v1::Dataset;
namespace fs = std::filesystem;

constexpr char kLost[] = "the server has lost its pictures; upload it again";

// 0 where there is no file.
absl::StatusOr<int64_t> FileSize(const fs::path& path) {
  ASSIGN_OR_RETURN(const bool there, IsThere(path));
  return there ? TreeBytes(path) : 0;
}

// What a full disk prevents is done at a later start. Everything else can wait for it.
absl::Status UnlessFull(const absl::Status& status) {
  return absl::IsResourceExhausted(status) ? absl::OkStatus() : status;
}

class Recovery {
 public:
  Recovery(Database& database, const StateDir& state, SetAside& set_aside)
      : database_(database), state_(state), set_aside_(set_aside) {}

  absl::Status Run();

 private:
  absl::Status ReadRows();
  fs::path Folder(int64_t id) const { return state_.data_set(id); }
  // Whether it was read, as far as its manifest knows, and what that stored is there.
  absl::StatusOr<bool> IsStored(int64_t id, const std::optional<StateManifest>& manifest) const {
    return manifest && manifest->stored ? IsThere(StoredPath(state_, id)) : false;
  }

  absl::Status FinishRemoval(int64_t id);
  absl::Status RecoverFolder(int64_t id);
  absl::Status RecoverRow(const DataSetRow& row, const std::optional<StateManifest>& manifest);
  absl::Status RecoverReady(const DataSetRow& row);
  absl::Status RecoverFailed(const DataSetRow& row, const std::optional<StateManifest>& manifest);
  absl::Status RecoverUploading(const DataSetRow& row,
                                const std::optional<StateManifest>& manifest);
  absl::Status RecoverMissing(const DataSetRow& row);
  absl::Status Adopt(int64_t id, DataSetRow row, const StateManifest& manifest);
  absl::Status MoveFolder(int64_t from, int64_t to);
  absl::Status SetState(int64_t id, Dataset::State state, const std::string& error);
  void BackFill(const DataSetRow& row);

  Database& database_;
  const StateDir& state_;
  SetAside& set_aside_;
  std::map<int64_t, DataSetRow> rows_;
};

absl::Status Recovery::Run() {
  RETURN_IF_ERROR(ReadRows());
  ASSIGN_OR_RETURN(const IdFolders found, ListIdFolders(state_.data_sets()));
  for (const int64_t id : found.removed) RETURN_IF_ERROR(FinishRemoval(id));
  for (const fs::path& path : found.others) {
    RETURN_IF_ERROR(set_aside_.Move(path, "its name is not that of a data set's folder"));
  }
  ASSIGN_OR_RETURN(const IdFolders left, ListIdFolders(state_.data_sets()));
  for (const int64_t id : left.ids) RETURN_IF_ERROR(RecoverFolder(id));
  RETURN_IF_ERROR(ReadRows());
  for (const auto& [id, row] : rows_) {
    ASSIGN_OR_RETURN(const bool there, IsThere(Folder(id)));
    if (!there) RETURN_IF_ERROR(RecoverMissing(row));
  }
  return absl::OkStatus();
}

absl::Status Recovery::ReadRows() {
  ASSIGN_OR_RETURN(std::vector<DataSetRow> rows, database_.Read([](SQLite::Database& connection) {
    return ListDataSets(connection, "", "", -1);
  }));
  rows_.clear();
  for (DataSetRow& row : rows) rows_[row.id] = std::move(row);
  return absl::OkStatus();
}

// Unless it is of another database than this one, the row goes with the files.
absl::Status Recovery::FinishRemoval(int64_t id) {
  const auto row = rows_.find(id);
  ASSIGN_OR_RETURN(const auto manifest, ReadStateManifest(RemovedPath(state_.data_sets(), id)));
  ASSIGN_OR_RETURN(const bool is_used, IsThere(Folder(id)));
  const bool is_rows =
      row != rows_.end() && !is_used && (!manifest || Describes(*manifest, row->second));
  if (!is_rows) return ForgetRemoved(state_.data_sets(), id);
  RETURN_IF_ERROR(EmptyRemoved(state_.data_sets(), id));
  const absl::Status deleted = database_.WriteFreeing([&](SQLite::Database& connection) {
    DeleteDataSetRow(connection, id);
    return absl::OkStatus();
  });
  if (!deleted.ok()) return UnlessFull(deleted);
  set_aside_.Report("deletion finished", row->second.data_set.name(), "it was under way");
  rows_.erase(row);
  return ForgetRemoved(state_.data_sets(), id);
}

absl::Status Recovery::RecoverFolder(int64_t id) {
  ASSIGN_OR_RETURN(const auto manifest, ReadStateManifest(Folder(id)));
  const auto row = rows_.find(id);
  if (row != rows_.end() && (!manifest || Describes(*manifest, row->second))) {
    return RecoverRow(row->second, manifest);
  }
  std::optional<DataSetRow> described = manifest ? RowOf(*manifest) : std::nullopt;
  if (described) return Adopt(id, *std::move(described), *manifest);
  return set_aside_.Move(Folder(id), "the database does not know it, and it has no manifest");
}

absl::Status Recovery::RecoverRow(const DataSetRow& row,
                                  const std::optional<StateManifest>& manifest) {
  if (!manifest) BackFill(row);
  switch (row.data_set.state()) {
    case Dataset::READY:
      return RecoverReady(row);
    case Dataset::UPLOADING:
      return RecoverUploading(row, manifest);
    case Dataset::FAILED:
      return RecoverFailed(row, manifest);
    default:
      return absl::OkStatus();  // it is read again
  }
}

// Also measures data sets from before there was a quota for stored pictures.
absl::Status Recovery::RecoverReady(const DataSetRow& row) {
  ASSIGN_OR_RETURN(const bool there, IsThere(StoredPath(state_, row.id)));
  if (!there) return RecoverMissing(row);
  RETURN_IF_ERROR(DiskStatus(RemoveTree(UploadPath(state_, row.id))));
  const int64_t bytes = TreeBytes(StoredPath(state_, row.id));
  if (bytes == row.stored_bytes) return absl::OkStatus();
  return UnlessFull(database_.Write([&](SQLite::Database& connection) {
    WriteStoredBytes(connection, row.id, bytes);
    return absl::OkStatus();
  }));
}

// What failed because its files were missing may have them again: a disk that was not mounted.
absl::Status Recovery::RecoverFailed(const DataSetRow& row,
                                     const std::optional<StateManifest>& manifest) {
  ASSIGN_OR_RETURN(const bool is_stored, IsStored(row.id, manifest));
  if (!is_stored) return DiskStatus(RemoveTree(UploadPath(state_, row.id)));
  set_aside_.Report("taken up again", row.data_set.name(), "its files are back");
  return SetState(row.id, Dataset::READING, "");
}

// The file is shorter than promised only if somebody has changed it. A database from earlier than
// the files does not know yet that the upload was read.
absl::Status Recovery::RecoverUploading(const DataSetRow& row,
                                        const std::optional<StateManifest>& manifest) {
  ASSIGN_OR_RETURN(const bool is_stored, IsStored(row.id, manifest));
  if (is_stored) {
    set_aside_.Report("taken up again", row.data_set.name(), "it was read already");
    return SetState(row.id, Dataset::READING, "");
  }
  ASSIGN_OR_RETURN(const int64_t there, FileSize(UploadPath(state_, row.id)));
  if (there >= row.data_set.received_bytes()) return absl::OkStatus();
  return UnlessFull(database_.Write([&](SQLite::Database& connection) {
    WriteReceivedBytes(connection, row.id, there, row.upload_time);
    return absl::OkStatus();
  }));
}

absl::Status Recovery::RecoverMissing(const DataSetRow& row) {
  switch (row.data_set.state()) {
    case Dataset::READY:
      set_aside_.Report("FAILED", row.data_set.name(), "its files are missing");
      return SetState(row.id, Dataset::FAILED, kLost);
    case Dataset::UPLOADING:
      if (row.data_set.received_bytes() == 0) return absl::OkStatus();
      set_aside_.Report("upload begins again", row.data_set.name(), "its files are missing");
      return UnlessFull(database_.Write([&](SQLite::Database& connection) {
        WriteReceivedBytes(connection, row.id, 0, row.upload_time);
        return absl::OkStatus();
      }));
    default:
      return absl::OkStatus();
  }
}

// What was stored is verified when it is "read". Until the row is written the folder keeps its
// place, and until the folder has moved the row is one whose files are missing.
absl::Status Recovery::Adopt(int64_t id, DataSetRow row, const StateManifest& manifest) {
  Dataset& data_set = row.data_set;
  ASSIGN_OR_RETURN(const std::optional<DataSetRow> same_name,
                   database_.Read([&](SQLite::Database& connection) {
                     return FindDataSet(connection, manifest.name);
                   }));
  if (same_name) {
    ASSIGN_OR_RETURN(const bool has_folder, IsThere(Folder(same_name->id)));
    if (!has_folder && Describes(manifest, *same_name)) return MoveFolder(id, same_name->id);
    return set_aside_.Move(Folder(id), "another data set has its name");
  }
  ASSIGN_OR_RETURN(const int64_t uploaded, FileSize(UploadPath(state_, id)));
  ASSIGN_OR_RETURN(const bool is_stored, IsStored(id, manifest));
  if (!is_stored && uploaded == 0) {
    return set_aside_.Move(Folder(id), "the database does not know it, and it holds no pictures");
  }
  const bool is_complete = is_stored || uploaded >= data_set.total_bytes();
  data_set.set_state(is_complete ? Dataset::READING : Dataset::UPLOADING);
  data_set.set_received_bytes(is_complete ? data_set.total_bytes() : uploaded);
  row.stored_bytes = is_stored ? TreeBytes(StoredPath(state_, id)) : data_set.total_bytes();
  row.upload_time = set_aside_.now();
  row.id = rows_.contains(id) ? 0 : id;
  ASSIGN_OR_RETURN(const int64_t new_id, database_.WriteFreeing([&](SQLite::Database& connection) {
    return absl::StatusOr<int64_t>(AdoptDataSet(connection, row));
  }));
  set_aside_.Report("taken up again", manifest.name, "the database did not know it");
  return new_id == id ? absl::OkStatus() : MoveFolder(id, new_id);
}

absl::Status Recovery::MoveFolder(int64_t from, int64_t to) {
  if (std::rename(Folder(from).c_str(), Folder(to).c_str()) != 0) {
    return DiskStatus(FileSystemError(errno, "a data set cannot be moved"));
  }
  return DiskStatus(SyncFolder(state_.data_sets()));
}

absl::Status Recovery::SetState(int64_t id, Dataset::State state, const std::string& error) {
  return UnlessFull(database_.Write([&](SQLite::Database& connection) -> absl::Status {
    ASSIGN_OR_RETURN(const auto row, ReadDataSet(connection, id));
    const bool has_report = row && row->data_set.has_report();
    WriteDataSetState(connection, id, state, error, has_report ? &row->data_set.report() : nullptr);
    return absl::OkStatus();
  }));
}

// For data sets that an earlier version has made. They are as old as what they hold, so the size
// alone stands for what was stored.
void Recovery::BackFill(const DataSetRow& row) {
  StateManifest manifest = ManifestOf(row);
  if (row.data_set.state() == Dataset::READY) {
    manifest.stored = StateManifest::File{TreeBytes(StoredPath(state_, row.id)), ""};
  }
  WriteStateManifest(Folder(row.id), manifest).IgnoreError();
}

}  // namespace

absl::Status RecoverDataSets(Database& database, const StateDir& state, SetAside& set_aside) {
  return Recovery(database, state, set_aside).Run();
}

}  // namespace denoise
