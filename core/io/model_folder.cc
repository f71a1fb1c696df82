#include "core/io/model_folder.h"

#include <algorithm>
#include <iterator>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/base/error_details.h"
#include "core/base/status_macros.h"
#include "core/files/file_content.h"
#include "core/io/foreign_file.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

bool IsDanglingLink(const fs::path& path) {
  std::error_code error;
  return fs::is_symlink(fs::symlink_status(path, error)) && !fs::exists(path, error);
}

std::vector<std::string> NamesOfFiles(const fs::path& folder) {
  constexpr size_t kMaxFiles = 1000;
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  for (; !error && entries != fs::end(entries); entries.increment(error)) {
    std::error_code unknown;
    if (entries->is_directory(unknown)) continue;
    names.push_back(entries->path().filename().string());
    if (names.size() == kMaxFiles) break;
  }
  std::sort(names.begin(), names.end());
  return names;
}

absl::Status CheckLink(const fs::path& path) {
  if (!IsDanglingLink(path)) return absl::OkStatus();
  return absl::NotFoundError(
      "is a link whose target does not exist; copy or download the model again, with the files "
      "that its links lead to");
}

// Callers may be told why a model's files cannot be opened: the message names them only within the
// model.
absl::Status ForCallers(const absl::Status& status) {
  return WithholdsMessage(status) ? WithErrorReason(status, "MODEL_FILE_UNREADABLE") : status;
}

absl::StatusOr<std::string> ReadWhole(const fs::path& path, size_t max_bytes) {
  RETURN_IF_ERROR(CheckLink(path));
  ASSIGN_OR_RETURN(const auto file, FileContent::Read(path, max_bytes));
  std::string text(file->bytes());
  if (const auto kind = ForeignKind(text)) return absl::InvalidArgumentError(*kind);
  return text;
}

}  // namespace

absl::Status InFile(std::string_view file, const absl::Status& status) {
  if (status.ok()) return status;
  absl::Status result(status.code(), absl::StrCat(absl::string_view(file.data(), file.size()), ": ",
                                                  status.message()));
  status.ForEachPayload(
      [&](absl::string_view url, const absl::Cord& payload) { result.SetPayload(url, payload); });
  return result;
}

absl::StatusOr<ModelFolder> ModelFolder::Open(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return absl::NotFoundError("there is no such model folder");
  return ModelFolder(path);
}

bool ModelFolder::HasFile(const std::string& file) const {
  std::error_code error;
  if (IsDanglingLink(path_ / file)) return true;
  return fs::exists(path_ / file, error) && !fs::is_directory(path_ / file, error);
}

bool ModelFolder::HasFolder(const std::string& folder) const {
  std::error_code error;
  return fs::is_directory(path_ / folder, error);
}

std::vector<std::string> ModelFolder::FileNames(const std::string& folder) const {
  return NamesOfFiles(path_ / folder);
}

// The client of the Hugging Face hub keeps such parts among the blobs of its cache, which is two
// levels above a snapshot, or in a hidden folder of the model.
bool ModelFolder::HasUnfinishedDownload(const std::string& folder) const {
  const fs::path places[] = {path_ / folder, path_ / ".cache/huggingface/download" / folder,
                             path_.parent_path().parent_path() / "blobs"};
  return std::any_of(std::begin(places), std::end(places), [](const fs::path& place) {
    const std::vector<std::string> names = NamesOfFiles(place);
    return std::any_of(names.begin(), names.end(),
                       [](const std::string& name) { return name.ends_with(".incomplete"); });
  });
}

absl::StatusOr<std::string> ModelFolder::ReadText(const std::string& file, size_t max_bytes) const {
  absl::StatusOr<std::string> text = ReadWhole(path_ / file, max_bytes);
  if (!text.ok()) return InFile(file, ForCallers(text.status()));
  return text;
}

absl::StatusOr<SafetensorsFile> ModelFolder::OpenSafetensors(const std::string& file,
                                                             size_t max_bytes) const {
  RETURN_IF_ERROR(InFile(file, CheckLink(path_ / file)));
  absl::StatusOr<SafetensorsFile> safetensors = SafetensorsFile::Open(path_ / file, max_bytes);
  if (!safetensors.ok()) return InFile(file, ForCallers(safetensors.status()));
  return safetensors;
}

}  // namespace denoise
