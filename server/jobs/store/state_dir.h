// The folder where a server keeps its state (--state).
//
//     lock                    held while a server uses the folder
//     state.db                jobs, events, data sets
//     reserve                 room on the disk that is given up to delete something
//     datasets/ID/            one data set: the upload, later the stored pictures
//     datasets/ID/manifest.json   what it is, see state_manifest.h
//     jobs/ID/base/           a copy of the model that the job starts from
//     jobs/ID/manifest.json   the job itself
//     jobs/ID/checkpoints/    see core/train/checkpoint_folder.h
//     set-aside/TIME/         what a server found here and did not know, see set_aside.h
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/file_descriptor.h"

namespace denoise {

// Held by one process at a time. Immutable and thread-safe.
class StateDir {
 public:
  // Locks the folder; creates it if needed, for this user alone. Messages are for the operator and name the path.
  // FailedPrecondition: another server uses it.
  static absl::StatusOr<StateDir> Open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path database() const { return path_ / "state.db"; }
  std::filesystem::path data_sets() const { return path_ / "datasets"; }
  std::filesystem::path data_set(int64_t id) const { return data_sets() / std::to_string(id); }
  std::filesystem::path set_aside() const { return path_ / "set-aside"; }
  std::filesystem::path jobs() const { return path_ / "jobs"; }
  std::filesystem::path job(int64_t id) const { return jobs() / std::to_string(id); }
  std::filesystem::path base_model(int64_t job_id) const { return job(job_id) / "base"; }
  std::filesystem::path checkpoints(int64_t job_id) const { return job(job_id) / "checkpoints"; }

 private:
  StateDir(std::filesystem::path path, FileDescriptor lock_file, FileDescriptor lock_folder)
      : path_(std::move(path)),
        lock_file_(std::move(lock_file)),
        lock_folder_(std::move(lock_folder)) {}

  std::filesystem::path path_;
  FileDescriptor lock_file_;
  FileDescriptor lock_folder_;
};

}  // namespace denoise
