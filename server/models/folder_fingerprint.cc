#include "server/models/folder_fingerprint.h"

#include <sys/stat.h>

#include <algorithm>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/sha256.h"
#include "server/models/models_root.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

// Of one folder. A model has fewer; looking at more would take too long.
constexpr size_t kMaxFiles = 2000;

std::string Describe(const fs::path& path, const std::string& name) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return absl::StrCat(name, " unreadable");
  return absl::StrCat(name, " ", info.st_dev, " ", info.st_ino, " ", info.st_size, " ",
                      info.st_mtim.tv_sec, " ", info.st_mtim.tv_nsec, " ", info.st_ctim.tv_sec, " ",
                      info.st_ctim.tv_nsec);
}

void AddFiles(const fs::path& folder, const std::string& prefix, std::vector<std::string>& files) {
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  for (; !error && entries != fs::end(entries); entries.increment(error)) {
    const fs::path& path = entries->path();
    const bool is_tokenizer = path.filename() == "merges.txt";
    if (path.extension() != ".json" && path.extension() != ".safetensors" && !is_tokenizer) {
      continue;
    }
    files.push_back(Describe(path, prefix + path.filename().string()));
    if (files.size() >= kMaxFiles) break;
  }
  if (error) files.push_back(absl::StrCat(prefix, " ", error.message()));
}

}  // namespace

std::string FingerprintOf(const fs::path& folder) {
  std::vector<std::string> files;
  AddFiles(folder, "", files);
  for (const std::string part : {"scheduler", "text_encoder", "text_encoder_2", "tokenizer",
                                 "tokenizer_2", "unet", "vae", "vqvae"}) {
    if (IsFolder(folder / part)) AddFiles(folder / part, part + "/", files);
  }
  std::sort(files.begin(), files.end());
  Sha256 hash;
  hash.AddPart("folder", folder.string());  // a cache's model can move to another snapshot
  hash.AddPart("files", absl::StrJoin(files, "\n"));
  return hash.Finish();
}

std::string FingerprintOfFile(const fs::path& file) {
  return Describe(file, file.filename().string());
}

absl::Status FilesHaveChanged() {
  return absl::AbortedError("its files have changed while they were read");
}

}  // namespace denoise
