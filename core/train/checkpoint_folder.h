// The training checkpoints of one job on disk.
//
//     step-00000500/            a checkpoint; gets this name once it is complete
//       snapshot.safetensors    TrainingSnapshot::tensors
//       state.json              TrainingSnapshot::state
//       manifest.json           size and SHA-256 of the other files
//     step-00001000.corrupt/    set aside because it did not match its manifest
//     .writing-.../             left by a crash; removed by Open
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

// Not thread-safe; a folder has at most one open CheckpointFolder. Errors do not name the folder.
// Unavailable: something cannot be read now, which says nothing about what is there.
class CheckpointFolder {
 public:
  // Creates the folder if there is none, and removes what a crash left.
  static absl::StatusOr<CheckpointFolder> Open(std::filesystem::path path);
  // Only for List and Load, on any thread and beside the one that is open. Changes nothing on disk;
  // checkpoints that are missing, or disappear meanwhile, are NotFound.
  static CheckpointFolder ForReading(std::filesystem::path path) {
    return CheckpointFolder(std::move(path));
  }

  // Writes to a temporary folder, syncs files and folders and renames it. Then removes all but the
  // newest `keep` checkpoints (at least one) and older ones that were set aside. An existing
  // checkpoint of that step is kept: a resumed run writes the same one again. ResourceExhausted:
  // the disk is full; nothing has changed.
  absl::Status Write(const TrainingSnapshot& snapshot, int keep);

  struct Entry {
    int64_t step;
    int64_t size_bytes;
  };
  absl::StatusOr<std::vector<Entry>> List() const;  // newest first

  // The newest checkpoint that matches its manifest. Those that do not are set aside, and listed in
  // `set_aside` with the reason. NotFound: none is left.
  struct Loaded {
    TrainingSnapshot snapshot;
    std::vector<std::string> set_aside;  // "step 1000: snapshot.safetensors has another hash"
  };
  absl::StatusOr<Loaded> LoadNewest();
  // NotFound. DataLoss: it does not match its manifest.
  absl::StatusOr<TrainingSnapshot> Load(int64_t step) const;

 private:
  explicit CheckpointFolder(std::filesystem::path path) : path_(std::move(path)) {}

  std::filesystem::path PathOf(int64_t step) const;
  absl::StatusOr<std::vector<int64_t>> Steps() const;  // newest first
  absl::Status SetAside(int64_t step) const;
  absl::Status Prune(int keep) const;

  std::filesystem::path path_;
};

}  // namespace denoise
