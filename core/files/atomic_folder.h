// Writes folders atomically and durably: models, training checkpoints and data sets appear complete
// or not at all.
#pragma once

#include <filesystem>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace denoise {

// A folder being filled under a temporary name, ".writing-...", beside its final one, and removed
// unless committed. The files written into it must be durable themselves (WriteSafetensors,
// WriteFileAtomically); Commit syncs the folders. Not thread-safe. Errors are those of the file
// system, without the path in their messages; ResourceExhausted: the disk or a quota is full.
//
//     ASSIGN_OR_RETURN(AtomicFolder folder, AtomicFolder::Create(goal));
//     RETURN_IF_ERROR(WriteFileAtomically(folder.path() / "state.json", text));
//     return folder.Commit();
class AtomicFolder {
 public:
  // The folder of `goal` must exist. AlreadyExists: `goal` exists.
  static absl::StatusOr<AtomicFolder> Create(std::filesystem::path goal);
  AtomicFolder(AtomicFolder&& other) noexcept;
  AtomicFolder& operator=(AtomicFolder&&) = delete;
  ~AtomicFolder();

  // Where to write until Commit.
  const std::filesystem::path& path() const { return path_; }

  // Creates a folder within this one ("unet").
  absl::Status MakeFolder(const std::filesystem::path& name) const;

  // Syncs every folder and renames this one to `goal`. AlreadyExists: `goal` has been created
  // meanwhile. After any other error `goal` is complete or does not exist.
  absl::Status Commit();

 private:
  AtomicFolder(std::filesystem::path goal, std::filesystem::path path);

  std::filesystem::path goal_;
  std::filesystem::path path_;  // empty once there is nothing to remove
};

// Removes a folder and everything in it. Renames it first, so a crash leaves it complete or leaves
// remains that RemoveUnfinishedFolders removes.
absl::Status RemoveFolder(const std::filesystem::path& path);

// Removes the temporary folders that a crash has left in `parent`. Call it while nobody is writing
// there, before the first AtomicFolder.
absl::Status RemoveUnfinishedFolders(const std::filesystem::path& parent);

}  // namespace denoise
