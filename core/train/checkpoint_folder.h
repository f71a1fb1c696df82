// The training checkpoints of one job on disk.
//
//     step-00000500/            a checkpoint: it has this name only once it is complete
//       snapshot.safetensors    TrainingSnapshot::tensors
//       state.json              TrainingSnapshot::state
//       manifest.json           size and SHA-256 of the other files
//     step-00001000.corrupt/    set aside: did not match its manifest
//     .writing-.../             left over from a crash; removed
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/train/trainer.h"

namespace denoise {

// One at a time is open for each folder; not thread-safe. Errors do not name the folder.
class CheckpointFolder {
 public:
  // Makes the folder if need be, and removes what a crash has left.
  static absl::StatusOr<CheckpointFolder> Open(std::filesystem::path path);
  // For List and Load alone, on any thread and beside the one that is open. Changes nothing on the
  // disk; what is not there, or goes meanwhile, is not found.
  static CheckpointFolder ForReading(std::filesystem::path path) {
    return CheckpointFolder(std::move(path));
  }

  // Writes to a temporary folder, syncs files and folders, renames, then removes all but the newest
  // `keep` (at least 1), and what was set aside before those. A checkpoint of that step that is
  // already there is kept, as runs repeat themselves. ResourceExhausted: the disk is full; what was
  // there before is untouched.
  absl::Status Write(const TrainingSnapshot& snapshot, int keep);

  struct Entry {
    int64_t step;
    int64_t size_bytes;
  };
  std::vector<Entry> List() const;  // the newest first

  // The newest that matches its manifest. Those that do not are set aside, and named in `set_aside`
  // with the reason. NotFound: none is left.
  struct Loaded {
    TrainingSnapshot snapshot;
    std::vector<std::string> set_aside;  // "step 1000: snapshot.safetensors has another hash"
  };
  absl::StatusOr<Loaded> LoadNewest();
  // NotFound, or DataLoss where it does not match its manifest.
  absl::StatusOr<TrainingSnapshot> Load(int64_t step) const;

 private:
  explicit CheckpointFolder(std::filesystem::path path) : path_(std::move(path)) {}

  std::filesystem::path PathOf(int64_t step) const;
  std::vector<int64_t> Steps() const;  // the newest first
  absl::Status SetAside(int64_t step) const;
  absl::Status Prune(int keep) const;

  std::filesystem::path path_;
};

}  // namespace denoise
