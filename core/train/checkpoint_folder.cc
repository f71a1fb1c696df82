#include "core/train/checkpoint_folder.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "core/base/file_system_error.h"
#include "core/base/status_macros.h"
#include "core/files/atomic_file.h"
#include "core/files/atomic_folder.h"
#include "core/files/file_content.h"
#include "core/files/folders.h"
#include "core/io/safetensors.h"
#include "core/train/checkpoint_manifest.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

constexpr char kPrefix[] = "step-";
constexpr char kSetAsideSuffix[] = ".corrupt";

// Whether a read error means that the checkpoint is damaged, rather than unreadable for now.
bool MeansDamage(const absl::Status& status) {
  return absl::IsNotFound(status) || absl::IsInvalidArgument(status) || absl::IsDataLoss(status);
}

absl::Status UnavailableUnlessDamaged(const absl::Status& status) {
  if (status.ok() || MeansDamage(status)) return status;
  return absl::UnavailableError(
      absl::StrCat("the checkpoints cannot be read now: ", status.message()));
}

std::string NameOf(int64_t step) { return absl::StrFormat("%s%08d", kPrefix, step); }

// nullopt where `name` is not what NameOf makes.
std::optional<int64_t> StepOf(const std::string& name) {
  int64_t step = 0;
  absl::string_view digits = name;
  const bool fits =
      absl::ConsumePrefix(&digits, kPrefix) && absl::SimpleAtoi(digits, &step) && step >= 0;
  return fits && name == NameOf(step) ? std::make_optional(step) : std::nullopt;
}

// The steps of the folders in `path` whose names end in `suffix`, newest first. An unreadable folder
// is not one without checkpoints: the run would start over.
absl::StatusOr<std::vector<int64_t>> StepsIn(const fs::path& path, const std::string& suffix) {
  const auto entries = ListFolder(path);
  if (absl::IsNotFound(entries.status())) return std::vector<int64_t>();
  RETURN_IF_ERROR(UnavailableUnlessDamaged(entries.status()));
  std::vector<int64_t> steps;
  for (const fs::path& entry : *entries) {
    std::string name = entry.filename().string();
    if (!name.ends_with(suffix)) continue;
    name.resize(name.size() - suffix.size());
    const auto step = StepOf(name);
    std::error_code error;
    if (step && fs::is_directory(entry, error)) steps.push_back(*step);
    if (error) {
      return UnavailableUnlessDamaged(
          FileSystemError(error.value(), "a checkpoint cannot be examined"));
    }
  }
  std::sort(steps.begin(), steps.end(), std::greater<>());
  return steps;
}

// The text of a small file.
absl::StatusOr<std::string> ReadText(const fs::path& path) {
  constexpr size_t kMaxBytes = size_t{1} << 20;
  ASSIGN_OR_RETURN(const auto file, FileContent::Read(path, kMaxBytes));
  return std::string(file->bytes());
}

absl::StatusOr<StateDict> ReadTensors(const fs::path& path) {
  ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Open(path));
  StateDict tensors;
  for (const auto& [name, info] : file.header().tensors) {
    ASSIGN_OR_RETURN(tensors[name], file.Get(name));
  }
  return tensors;
}

absl::Status CheckFile(const char* name, const CheckpointManifest::File& file,
                       const CheckpointManifest::File& expected) {
  if (file == expected) return absl::OkStatus();
  if (file.size_bytes == expected.size_bytes) {
    return absl::DataLossError(absl::StrCat(name, " has another hash"));
  }
  return absl::DataLossError(
      absl::StrCat(name, " has ", file.size_bytes, " bytes, not ", expected.size_bytes));
}

absl::Status CheckManifest(const fs::path& folder, int64_t step) {
  auto text = ReadText(folder / kManifestFile);
  auto manifest = text.ok() ? DecodeManifest(*text) : text.status();
  if (!manifest.ok()) {
    return absl::Status(manifest.status().code(),
                        absl::StrCat(kManifestFile, ": ", manifest.status().message()));
  }
  if (manifest->step != step) {
    return absl::DataLossError(absl::StrCat(kManifestFile, " is for step ", manifest->step));
  }
  ASSIGN_OR_RETURN(const CheckpointManifest found, DescribeCheckpoint(folder, step));
  RETURN_IF_ERROR(CheckFile(kSnapshotFile, found.snapshot, manifest->snapshot));
  return CheckFile(kStateFile, found.state, manifest->state);
}

absl::StatusOr<TrainingSnapshot> ReadCheckpoint(const fs::path& folder, int64_t step) {
  RETURN_IF_ERROR(CheckManifest(folder, step));
  TrainingSnapshot snapshot = {.step = step};
  ASSIGN_OR_RETURN(snapshot.tensors, ReadTensors(folder / kSnapshotFile));
  ASSIGN_OR_RETURN(snapshot.state, ReadText(folder / kStateFile));
  return snapshot;
}

}  // namespace

absl::StatusOr<CheckpointFolder> CheckpointFolder::Open(fs::path path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return FileSystemError(error.value(), "cannot create the folder of checkpoints");
  RETURN_IF_ERROR(RemoveUnfinishedFolders(path));
  return CheckpointFolder(std::move(path));
}

fs::path CheckpointFolder::PathOf(int64_t step) const { return path_ / NameOf(step); }

absl::StatusOr<std::vector<int64_t>> CheckpointFolder::Steps() const { return StepsIn(path_, ""); }

absl::Status CheckpointFolder::Write(const TrainingSnapshot& snapshot, int keep) {
  auto folder = AtomicFolder::Create(PathOf(snapshot.step));
  if (absl::IsAlreadyExists(folder.status())) return Prune(keep);
  RETURN_IF_ERROR(folder.status());
  RETURN_IF_ERROR(WriteSafetensors(folder->path() / kSnapshotFile, snapshot.tensors));
  RETURN_IF_ERROR(WriteFileAtomically(folder->path() / kStateFile, snapshot.state));
  ASSIGN_OR_RETURN(const CheckpointManifest manifest,
                   DescribeCheckpoint(folder->path(), snapshot.step));
  RETURN_IF_ERROR(WriteFileAtomically(folder->path() / kManifestFile, EncodeManifest(manifest)));
  RETURN_IF_ERROR(folder->Commit());
  return Prune(keep);
}

absl::Status CheckpointFolder::Prune(int keep) const {
  ASSIGN_OR_RETURN(const std::vector<int64_t> steps, Steps());
  const size_t kept = std::min(steps.size(), static_cast<size_t>(std::max(1, keep)));
  for (size_t i = kept; i < steps.size(); ++i) RETURN_IF_ERROR(RemoveFolder(PathOf(steps[i])));
  ASSIGN_OR_RETURN(const std::vector<int64_t> set_aside, StepsIn(path_, kSetAsideSuffix));
  for (const int64_t step : set_aside) {
    if (kept > 0 && step < steps[kept - 1]) {
      RETURN_IF_ERROR(RemoveFolder(path_ / (NameOf(step) + kSetAsideSuffix)));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<CheckpointFolder::Entry>> CheckpointFolder::List() const {
  ASSIGN_OR_RETURN(const std::vector<int64_t> steps, Steps());
  std::vector<Entry> entries;
  for (const int64_t step : steps) {
    Entry entry = {.step = step, .size_bytes = 0};
    for (const char* name : {kSnapshotFile, kStateFile, kManifestFile}) {
      std::error_code error;
      const auto size = fs::file_size(PathOf(step) / name, error);
      if (!error) entry.size_bytes += static_cast<int64_t>(size);
    }
    entries.push_back(entry);
  }
  return entries;
}

absl::StatusOr<TrainingSnapshot> CheckpointFolder::Load(int64_t step) const {
  const auto there = Exists(PathOf(step));
  RETURN_IF_ERROR(UnavailableUnlessDamaged(there.status()));
  if (!*there) return absl::NotFoundError(absl::StrCat("there is no checkpoint of step ", step));
  auto snapshot = ReadCheckpoint(PathOf(step), step);
  if (!snapshot.ok() && MeansDamage(snapshot.status())) {
    return absl::DataLossError(absl::StrCat("step ", step, ": ", snapshot.status().message()));
  }
  RETURN_IF_ERROR(UnavailableUnlessDamaged(snapshot.status()));
  return snapshot;
}

absl::StatusOr<CheckpointFolder::Loaded> CheckpointFolder::LoadNewest() {
  std::vector<std::string> set_aside;
  ASSIGN_OR_RETURN(const std::vector<int64_t> steps, Steps());
  for (const int64_t step : steps) {
    auto snapshot = Load(step);
    if (snapshot.ok()) return Loaded{*std::move(snapshot), std::move(set_aside)};
    if (!absl::IsDataLoss(snapshot.status())) return snapshot.status();
    set_aside.emplace_back(snapshot.status().message());
    RETURN_IF_ERROR(SetAside(step));
  }
  std::string message = "there is no checkpoint";
  for (const std::string& reason : set_aside) absl::StrAppend(&message, "; ", reason);
  return absl::NotFoundError(message);
}

// Replaces an older one that was set aside at the same step.
absl::Status CheckpointFolder::SetAside(int64_t step) const {
  const fs::path goal = path_ / (NameOf(step) + kSetAsideSuffix);
  ASSIGN_OR_RETURN(const bool has_older, Exists(goal));
  if (has_older) RETURN_IF_ERROR(RemoveFolder(goal));
  std::error_code error;
  fs::rename(PathOf(step), goal, error);
  if (error) return FileSystemError(error.value(), "cannot set a checkpoint aside");
  return SyncFolder(path_);
}

}  // namespace denoise
