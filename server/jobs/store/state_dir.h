// The folder where a server keeps its state (--state).
//
//     lock                    held while a server uses the folder
//     state.db                jobs, events, data sets
//     datasets/ID/            one data set: the upload, later the stored pictures
//     jobs/ID/base/           a copy of the model that the job starts from
//     jobs/ID/checkpoints/    see core/train/checkpoint_folder.h
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
  // Locks the folder, creating it if needed. Messages are for the operator and name the path.
  // FailedPrecondition: another server uses it.
  static absl::StatusOr<StateDir> Open(const std::filesystem::path& path);

  std::filesystem::path database() const { return path_ / "state.db"; }
  std::filesystem::path data_sets() const { return path_ / "datasets"; }
  std::filesystem::path data_set(int64_t id) const { return data_sets() / std::to_string(id); }
  std::filesystem::path jobs() const { return path_ / "jobs"; }
  std::filesystem::path job(int64_t id) const { return jobs() / std::to_string(id); }
  std::filesystem::path base_model(int64_t job_id) const { return job(job_id) / "base"; }
  std::filesystem::path checkpoints(int64_t job_id) const { return job(job_id) / "checkpoints"; }

 private:
  StateDir(std::filesystem::path path, FileDescriptor lock)
      : path_(std::move(path)), lock_(std::move(lock)) {}

  std::filesystem::path path_;
  FileDescriptor lock_;
};

}  // namespace denoise
