#include "server/models/adapter_files.h"

#include <optional>
#include <set>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "server/models/adapter_id.h"
#include "server/models/models_root.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSuffix = ".safetensors";
constexpr char kSaved[] = "pytorch_lora_weights.safetensors";
constexpr char kSavedByPeft[] = "adapter_model.safetensors";

// The file that stands for a folder, if it has one.
std::optional<fs::path> FileOfFolder(const fs::path& folder) {
  const auto files = FollowCache(folder);
  if (!files.ok() || !HasName(*files / kSaved)) return std::nullopt;
  return *files / kSaved;
}

// The id of the entry `name`, which need not be valid; empty: it is no adapter.
std::string IdOf(const fs::path& folder, std::string_view name) {
  if (!IsFolder(folder / name)) {
    if (!name.ends_with(kSuffix)) return "";
    name.remove_suffix(kSuffix.size());
    return std::string(name);
  }
  if (!FileOfFolder(folder / name)) return "";
  if (name.starts_with(kCachedModel)) name.remove_prefix(kCachedModel.size());
  return std::string(name);
}

// Why the entry at `path` is no adapter, or not under the name `id`.
std::string WhySkipped(const fs::path& path, const std::string& id) {
  if (!id.empty()) return "its name is not one of an adapter";
  if (!IsFolder(path)) return "not a .safetensors file";
  if (HasName(path / kSavedByPeft)) {
    return absl::StrCat("a folder of peft; give its ", kSavedByPeft, " a name of its own here");
  }
  return absl::StrCat("a folder without ", kSaved);
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ListAdapterIds(const fs::path& folder) {
  if (!HasName(folder)) return std::vector<std::string>();
  ASSIGN_OR_RETURN(const std::vector<std::string> names, VisibleNames(folder));
  std::set<std::string> ids;
  for (const std::string& name : names) {
    if (std::string id = IdOf(folder, name); IsValidAdapterId(id)) ids.insert(std::move(id));
  }
  return std::vector<std::string>(ids.begin(), ids.end());
}

std::vector<std::string> SkippedEntries(const fs::path& folder) {
  constexpr size_t kMaxEntries = 20;
  std::vector<std::string> skipped;
  for (const std::string& name : VisibleNames(folder).value_or(std::vector<std::string>())) {
    const std::string id = IdOf(folder, name);
    if (IsValidAdapterId(id)) continue;
    if (skipped.size() == kMaxEntries) break;
    skipped.push_back(absl::StrCat(Escaped(name), " (", WhySkipped(folder / name, id), ")"));
  }
  return skipped;
}

absl::StatusOr<fs::path> FindAdapterFile(const fs::path& folder, const std::string& id) {
  fs::path file = folder / absl::StrCat(id, std::string(kSuffix));
  if (HasName(file) && !IsFolder(file)) return file;
  for (const std::string& name : {id, absl::StrCat(std::string(kCachedModel), id)}) {
    if (!IsFolder(folder / name)) continue;
    if (const auto saved = FileOfFolder(folder / name)) return *saved;
  }
  return absl::NotFoundError("there is no such adapter");
}

}  // namespace denoise
