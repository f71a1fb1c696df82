// Folders that appear whole or not at all, and are on the disk when they do: models, training
// checkpoints, data sets.
#pragma once

#include <filesystem>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace denoise {

// A folder being filled under a temporary name, ".writing-...", beside its goal, and removed unless
// it is committed. Whoever fills it writes files that are durable themselves (WriteSafetensors,
// WriteFileAtomically); folders within it are synced here. Not thread-safe. Errors come from the
// file system, their messages do not contain the path; ResourceExhausted where the disk, or a quota
// on it, is full.
//
//     ASSIGN_OR_RETURN(AtomicFolder folder, AtomicFolder::Create(goal));
//     RETURN_IF_ERROR(WriteFileAtomically(folder.path() / "state.json", text));
//     return folder.Commit();
class AtomicFolder {
 public:
  // The folder that `goal` lies in must exist. AlreadyExists: `goal` does.
  static absl::StatusOr<AtomicFolder> Create(std::filesystem::path goal);
  AtomicFolder(AtomicFolder&& other) noexcept;
  AtomicFolder& operator=(AtomicFolder&&) = delete;
  ~AtomicFolder();

  // Where to write until Commit.
  const std::filesystem::path& path() const { return path_; }

  // Makes a folder within this one, "unet".
  absl::Status MakeFolder(const std::filesystem::path& name) const;

  // Syncs every folder and takes the name of `goal`. AlreadyExists: somebody else has taken it
  // meanwhile. After any other error `goal` is there whole, or not at all.
  absl::Status Commit();

 private:
  AtomicFolder(std::filesystem::path goal, std::filesystem::path path);

  std::filesystem::path goal_;
  std::filesystem::path path_;  // empty once there is nothing to remove
};

// Removes a folder and everything in it. It loses its name first: after a crash it is whole, or gone
// but for what RemoveUnfinishedFolders removes.
absl::Status RemoveFolder(const std::filesystem::path& path);

// Removes the temporary folders that a crash has left in `parent`. To be called where nobody else
// is writing there: before the first AtomicFolder.
absl::Status RemoveUnfinishedFolders(const std::filesystem::path& parent);

}  // namespace denoise
