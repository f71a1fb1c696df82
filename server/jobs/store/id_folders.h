// The folders of the state whose names are ids: data sets and jobs.
//
//     ID            what the database calls ID
//     .removed-ID   was deleted; its files may still be there
//     .creating-ID  was not complete when the server ended
//
// An item is deleted once its folder has the name .removed-ID. That takes no room on the disk, the
// files can then go, and a server that ends in between finishes the deletion when it starts.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace denoise {

struct IdFolders {
  std::vector<int64_t> ids;
  std::vector<int64_t> removed;
  std::vector<int64_t> creating;
  // Everything else, with the path, but for lost+found: that is the file system's own.
  std::vector<std::filesystem::path> others;
};
// What is in `folder`, in order. Errors are those of DiskStatus.
absl::StatusOr<IdFolders> ListIdFolders(const std::filesystem::path& folder);

std::filesystem::path RemovedPath(const std::filesystem::path& folder, int64_t id);
std::filesystem::path CreatingPath(const std::filesystem::path& folder, int64_t id);

// Gives a folder that is complete its name. Errors are those of DiskStatus.
absl::Status FinishCreating(const std::filesystem::path& folder, int64_t id);

// Errors are those of DiskStatus. OK where there is no such folder.
absl::Status MarkRemoved(const std::filesystem::path& folder, int64_t id);
absl::Status UnmarkRemoved(const std::filesystem::path& folder, int64_t id);
// Removes the files of an item that is marked, but not the mark.
absl::Status EmptyRemoved(const std::filesystem::path& folder, int64_t id);
// Removes files and mark.
absl::Status ForgetRemoved(const std::filesystem::path& folder, int64_t id);

}  // namespace denoise
