#include "core/train/checkpoint_manifest.h"

#include <chrono>
#include <limits>
#include <nlohmann/json.hpp>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "core/base/file_system_error.h"
#include "core/base/sha256.h"
#include "core/base/status_macros.h"
#include "core/json/config_reader.h"
#include "core/json/strict_json.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr IntRange kNotNegative = {0, std::numeric_limits<int64_t>::max()};
constexpr JsonOptions kLimits = {.max_bytes = 1 << 12, .max_depth = 4, .max_values = 32};

constexpr char kKind[] = "training checkpoint";

// Below the job's own name.
std::string NameOf(int64_t step) { return absl::StrCat("checkpoints/", step); }

absl::StatusOr<CheckpointManifest::File> Describe(const fs::path& folder, const char* name) {
  auto hash = Sha256OfFile(folder / name);
  if (!hash.ok()) {
    return absl::Status(hash.status().code(), absl::StrCat(name, ": ", hash.status().message()));
  }
  std::error_code error;
  const auto size = fs::file_size(folder / name, error);
  if (error) return FileSystemError(error.value(), absl::StrCat(name, ": cannot be examined"));
  return CheckpointManifest::File{static_cast<int64_t>(size), *std::move(hash)};
}

Json ToJson(const CheckpointManifest::File& file) {
  return {{"size_bytes", file.size_bytes}, {"sha256", file.sha256}};
}

absl::Status ReadFileEntry(ConfigReader& files, const char* name, CheckpointManifest::File& file) {
  const Json* entry = files.Find(name);
  if (entry == nullptr || !entry->is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(name, " is missing"));
  }
  ConfigReader reader(*entry, ConfigReader::Null::kValue);
  reader.Read("size_bytes", file.size_bytes, kNotNegative);
  reader.Read("sha256", file.sha256);
  return reader.Finish("file of a manifest");
}

}  // namespace

absl::StatusOr<CheckpointManifest> DescribeCheckpoint(const fs::path& folder, int64_t step) {
  CheckpointManifest manifest = {.step = step};
  ASSIGN_OR_RETURN(manifest.snapshot, Describe(folder, kSnapshotFile));
  ASSIGN_OR_RETURN(manifest.state, Describe(folder, kStateFile));
  std::error_code error;
  const auto written = fs::last_write_time(folder / kSnapshotFile, error);
  if (!error) {
    manifest.create_time = absl::FromChrono(std::chrono::time_point_cast<std::chrono::seconds>(
        std::chrono::file_clock::to_sys(written)));
  }
  return manifest;
}

std::string EncodeManifest(const CheckpointManifest& manifest) {
  const Json json = {
      {"kind", kKind},
      {"name", NameOf(manifest.step)},
      {"create_time",
       absl::FormatTime(absl::RFC3339_sec, manifest.create_time, absl::UTCTimeZone())},
      {"step", manifest.step},
      {"files",
       {{kSnapshotFile, ToJson(manifest.snapshot)}, {kStateFile, ToJson(manifest.state)}}}};
  return json.dump(2) + "\n";
}

absl::StatusOr<CheckpointManifest> DecodeManifest(std::string_view text) {
  ASSIGN_OR_RETURN(const Json json, ParseStrictJsonObject(text, kLimits));
  CheckpointManifest manifest;
  ConfigReader reader(json, ConfigReader::Null::kValue);
  manifest.step = -1;
  reader.Read("step", manifest.step, kNotNegative);
  // Manifests of earlier versions have none of these.
  std::string kind = kKind, name = NameOf(manifest.step), time, error;
  reader.Read("kind", kind);
  reader.Read("name", name);
  reader.Read("create_time", time);
  if (kind != kKind) reader.Violate("kind", absl::StrCat("must be \"", kKind, "\""));
  if (name != NameOf(manifest.step)) reader.Violate("name", "must be that of the step");
  if (!time.empty() && !absl::ParseTime(absl::RFC3339_full, time, &manifest.create_time, &error)) {
    reader.Violate("create_time", "must be a time such as 2026-01-31T12:00:00Z");
  }
  const Json* files = reader.Find("files");
  if (files == nullptr || !files->is_object()) reader.Violate("files", "must be an object");
  RETURN_IF_ERROR(reader.Finish("manifest"));
  ConfigReader file_reader(*files, ConfigReader::Null::kValue);
  RETURN_IF_ERROR(ReadFileEntry(file_reader, kSnapshotFile, manifest.snapshot));
  RETURN_IF_ERROR(ReadFileEntry(file_reader, kStateFile, manifest.state));
  RETURN_IF_ERROR(file_reader.Finish("list of files"));
  return manifest;
}

}  // namespace denoise
