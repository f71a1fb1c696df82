#include "server/models/folder_fingerprint.h"

#include <sys/stat.h>

#include <algorithm>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/sha256.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxDepth = 4;
constexpr size_t kMaxFiles = 1000;

std::string Describe(const fs::path& path, const std::string& name) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return absl::StrCat(name, " unreadable");
  return absl::StrCat(name, " ", info.st_dev, " ", info.st_ino, " ", info.st_size, " ",
                      info.st_mtim.tv_sec, " ", info.st_mtim.tv_nsec, " ", info.st_ctim.tv_sec, " ",
                      info.st_ctim.tv_nsec);
}

}  // namespace

std::string FingerprintOf(const fs::path& folder) {
  constexpr auto kOptions = fs::directory_options::follow_directory_symlink |
                            fs::directory_options::skip_permission_denied;
  std::vector<std::string> files;
  std::error_code error;
  fs::recursive_directory_iterator entries(folder, kOptions, error);
  for (; !error && entries != fs::end(entries); entries.increment(error)) {
    std::error_code no_folder;
    if (entries->is_directory(no_folder)) {
      if (entries.depth() + 1 >= kMaxDepth) entries.disable_recursion_pending();
      continue;
    }
    files.push_back(Describe(entries->path(), entries->path().lexically_relative(folder).string()));
    if (files.size() == kMaxFiles) break;
  }
  if (error) files.push_back(error.message());
  std::sort(files.begin(), files.end());
  Sha256 hash;
  hash.AddPart("folder", folder.string());  // another snapshot of a cache
  hash.AddPart("files", absl::StrJoin(files, "\n"));
  return hash.Finish();
}

}  // namespace denoise
