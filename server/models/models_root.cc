#include "server/models/models_root.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/base/quoted.h"
#include "core/base/resource_id.h"
#include "core/base/status_macros.h"
#include "core/files/file_content.h"
#include "server/models/model_id.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

constexpr char kIndex[] = "model_index.json";
constexpr char kDangling[] = "is a link whose target does not exist";

bool IsCached(const fs::path& folder) {
  return IsFolder(folder / "snapshots") && !HasName(folder / kIndex);
}

// The snapshot that refs/main names or, without refs, the only one.
absl::StatusOr<fs::path> Snapshot(const fs::path& cached) {
  constexpr size_t kMaxBytes = 256;
  if (HasName(cached / "refs" / "main")) {
    const auto main = FileContent::Read(cached / "refs" / "main", kMaxBytes);
    const std::string text(main.ok() ? (*main)->bytes() : "");
    const std::string name(absl::StripAsciiWhitespace(text));
    if (!IsValidResourceId(name)) {
      return absl::InvalidArgumentError(
          "its refs/main does not name a snapshot; download the model again");
    }
    if (!IsFolder(cached / "snapshots" / name)) {
      return absl::NotFoundError(absl::StrCat("the snapshot ", Quoted(name),
                                              " that its refs/main names does not exist; download "
                                              "the model again"));
    }
    return cached / "snapshots" / name;
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> names, VisibleNames(cached / "snapshots"));
  if (names.size() == 1 && IsFolder(cached / "snapshots" / names[0])) {
    return cached / "snapshots" / names[0];
  }
  return absl::NotFoundError(
      absl::StrCat("is a model of a Hugging Face cache with ", names.size(),
                   " snapshots and no refs/main that names one; download the model again"));
}

bool HoldsModels(const fs::path& folder, const std::vector<std::string>& names) {
  return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
    return HasName(folder / name / kIndex) || IsCached(folder / name);
  });
}

bool IsWeights(const std::string& name) {
  constexpr std::string_view kSuffixes[] = {".safetensors", ".ckpt", ".bin", ".pt", ".pth"};
  return std::any_of(std::begin(kSuffixes), std::end(kSuffixes),
                     [&](std::string_view suffix) { return name.ends_with(suffix); });
}

// Says what a folder without a model_index.json is.
absl::Status DescribeFolder(const fs::path& folder) {
  const absl::StatusOr<std::vector<std::string>> listed = VisibleNames(folder);
  if (!listed.ok()) return absl::NotFoundError("is a folder that cannot be read");
  const std::vector<std::string>& names = *listed;
  if (names.empty()) {
    return absl::NotFoundError("has no model_index.json: it is an empty folder");
  }
  if (HoldsModels(folder, names)) {
    return absl::InvalidArgumentError(
        "has no model_index.json: it holds models itself; give --models this folder, or move them "
        "one level up");
  }
  if (HasName(folder / "config.json")) {
    return absl::InvalidArgumentError(
        "has no model_index.json but a config.json: it is one part of a model, such as its "
        "network; save the whole pipeline with save_pretrained");
  }
  if (std::any_of(names.begin(), names.end(), IsWeights)) {
    return absl::InvalidArgumentError(
        "has no model_index.json but files of weights: a model is a folder in the diffusers "
        "layout; convert a single file with `denoise convert`, or load the weights into a pipeline "
        "and save that with save_pretrained");
  }
  return absl::NotFoundError(
      "has no model_index.json: a model is a folder in the diffusers layout");
}

// Whether it is a part of a Hugging Face cache that is not a model.
bool IsCachedOtherwise(const std::string& name) {
  return name.starts_with("datasets--") || name.starts_with("spaces--");
}

// Follows the entry `name` of `root` to the folder with the model's files.
absl::StatusOr<fs::path> FolderOf(const fs::path& root, const std::string& name) {
  ASSIGN_OR_RETURN(const fs::path folder, FollowCache(root / name));
  if (folder == root / name && IsCachedOtherwise(name)) {
    return absl::InvalidArgumentError("is a part of a Hugging Face cache that is not a model");
  }
  if (!HasName(folder / kIndex)) return DescribeFolder(folder);
  return folder;
}

// The id of the entry `name`, which need not be valid.
std::string IdOf(const fs::path& root, const std::string& name) {
  const bool cached = name.starts_with(kCachedModel) && IsCached(root / name);
  return cached ? name.substr(kCachedModel.size()) : name;
}

// Whether it is a folder that file systems, NAS boxes, archives of macOS and caches put beside
// models.
bool IsNeverAModel(const std::string& name) {
  constexpr std::string_view kNames[] = {"lost+found", "@eaDir", "__MACOSX"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames) ||
         IsCachedOtherwise(name);
}

// The entry `name` of `root`; nullopt if it is a file, or never a model.
std::optional<ModelEntry> Examine(const fs::path& root, const std::string& name) {
  if (IsNeverAModel(name)) return std::nullopt;
  ModelEntry entry = {
      .path = root / name, .name = Escaped(name), .id = IdOf(root, name), .folder = fs::path()};
  if (!IsValidModelId(entry.id)) entry.id.clear();
  std::error_code error;
  const fs::file_status status = fs::status(root / name, error);
  if (status.type() == fs::file_type::not_found) {
    entry.folder = absl::NotFoundError(kDangling);
  } else if (error) {
    entry.folder = absl::NotFoundError(absl::StrCat("cannot be examined: ", error.message()));
  } else if (!fs::is_directory(status)) {
    return std::nullopt;
  } else if (entry.id.empty()) {
    entry.folder = absl::InvalidArgumentError(kModelIdRule);
  } else {
    entry.folder = FolderOf(root, name);
  }
  return entry;
}

absl::Status CheckRoot(const fs::path& root) {
  std::error_code error;
  if (!HasName(root)) {
    return absl::NotFoundError(
        "the models folder does not exist; create it, or give --models the folder that holds the "
        "models' folders");
  }
  if (!fs::exists(root, error)) {
    return absl::NotFoundError(absl::StrCat("the models folder ", kDangling,
                                            "; give --models the folder that holds the models' "
                                            "folders"));
  }
  if (!IsFolder(root)) {
    return absl::InvalidArgumentError(
        "the models folder is a file; give --models the folder that holds the models' folders");
  }
  if (HasName(root / kIndex)) {
    return absl::InvalidArgumentError(
        "the models folder is a model itself: it has a model_index.json; give --models the folder "
        "above it");
  }
  if (IsCached(root)) {
    return absl::InvalidArgumentError(
        "the models folder is one model of a Hugging Face cache; give --models the folder above "
        "it");
  }
  return absl::OkStatus();
}

}  // namespace

bool IsFolder(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

bool HasName(const fs::path& path) {
  std::error_code error;
  return fs::exists(fs::symlink_status(path, error));
}

absl::StatusOr<std::vector<std::string>> VisibleNames(const fs::path& folder) {
  std::error_code error;
  std::vector<std::string> names;
  fs::directory_iterator entries(folder, error);
  for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
    std::string name = entries->path().filename().string();
    if (!name.starts_with('.')) names.push_back(std::move(name));
  }
  if (error) {
    return absl::NotFoundError(absl::StrCat("the folder cannot be read: ", error.message()));
  }
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<std::vector<ModelEntry>> ListModels(const fs::path& root) {
  RETURN_IF_ERROR(CheckRoot(root));
  ASSIGN_OR_RETURN(const std::vector<std::string> names, VisibleNames(root));
  std::vector<ModelEntry> entries;
  std::set<std::string> ids;
  // A folder of its own comes before a cached model of the same id, wherever it is in the order.
  for (const std::string& name : names) ids.insert(name);
  for (const std::string& name : names) {
    std::optional<ModelEntry> entry = Examine(root, name);
    if (!entry) continue;
    if (entry->id != name && ids.contains(entry->id)) {
      entry->folder = absl::AlreadyExistsError("another folder has the name of this cached model");
      entry->id.clear();
    }
    entries.push_back(*std::move(entry));
  }
  return entries;
}

std::string WhatIsInPlaceOfModels(const fs::path& root) {
  const std::vector<std::string> names = VisibleNames(root).value_or(std::vector<std::string>());
  if (names.empty()) return "is empty";
  if (HasName(root / "config.json")) {
    return "is one part of a model, such as its network: it has a config.json and no "
           "model_index.json; save the whole pipeline with save_pretrained to a folder in it";
  }
  const auto weights = std::find_if(names.begin(), names.end(), IsWeights);
  if (weights == names.end()) return "holds no model";
  return absl::StrCat("holds the file ", Quoted(*weights),
                      "; convert it with `denoise convert` to a folder in it");
}

absl::StatusOr<fs::path> FollowCache(const fs::path& folder) {
  if (!IsCached(folder)) return folder;
  return Snapshot(folder);
}

absl::StatusOr<fs::path> FindModelFiles(const fs::path& folder) {
  return FolderOf(folder.parent_path(), folder.filename().string());
}

absl::StatusOr<fs::path> FindModel(const fs::path& root, const std::string& id) {
  // The folder of a cached model has another name than the model.
  if (!IsValidModelId(id) || IdOf(root, id) != id) {
    return absl::NotFoundError("there is no such model folder");
  }
  if (HasName(root / id)) return FolderOf(root, id);
  const std::string cached = std::string(kCachedModel).append(id);
  if (IsCached(root / cached)) return FolderOf(root, cached);
  return absl::NotFoundError("there is no such model folder");
}

}  // namespace denoise
