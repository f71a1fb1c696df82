#include "server/jobs/store/state_manifest.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/json/config_reader.h"
#include "core/json/strict_json.h"

namespace denoise {
namespace {

using Json = nlohmann::json;

constexpr int64_t kVersion = 1;
constexpr char kDataSetKind[] = "dataset";
constexpr char kJobKind[] = "training job";

// A report has ten thousand names of classes and a contact sheet; base64 adds a third.
constexpr JsonOptions kLimits = {.max_bytes = size_t{48} << 20, .max_depth = 4, .max_values = 32};

void ReadBytes(ConfigReader& reader, const char* key, std::string& bytes) {
  std::string base64;
  reader.Read(key, base64);
  if (!absl::Base64Unescape(base64, &bytes)) reader.Violate(key, "must be base64");
}

void ReadKind(ConfigReader& reader, StateManifest::Kind& kind) {
  std::string text;
  reader.Read("kind", text);
  if (text != kDataSetKind && text != kJobKind) {
    reader.Violate("kind", absl::StrCat("must be \"", kDataSetKind, "\" or \"", kJobKind, "\""));
  }
  kind = text == kJobKind ? StateManifest::Kind::kTrainingJob : StateManifest::Kind::kDataSet;
}

void ReadTime(ConfigReader& reader, absl::Time& time) {
  std::string text, error;
  reader.Read("create_time", text);
  if (!absl::ParseTime(absl::RFC3339_full, text, &time, &error) || time == absl::InfiniteFuture() ||
      time == absl::InfinitePast()) {
    reader.Violate("create_time", "must be a time such as 2026-01-31T12:00:00Z");
  }
}

absl::StatusOr<StateManifest::File> ReadFileEntry(const Json& object) {
  ConfigReader reader(object, ConfigReader::Null::kValue);
  StateManifest::File file;
  reader.Read("size_bytes", file.size_bytes, {0, int64_t{1} << 60});
  reader.Read("sha256", file.sha256);
  RETURN_IF_ERROR(reader.Finish("entry of a manifest"));
  return file;
}

}  // namespace

std::string EncodeStateManifest(const StateManifest& manifest) {
  const bool is_job = manifest.kind == StateManifest::Kind::kTrainingJob;
  Json json = {{"version", kVersion},
               {"kind", is_job ? kJobKind : kDataSetKind},
               {"name", manifest.name},
               {"create_time",
                absl::FormatTime(absl::RFC3339_full, manifest.create_time, absl::UTCTimeZone())},
               {"resource", absl::Base64Escape(manifest.resource)}};
  if (is_job) {
    json["request_id"] = absl::Base64Escape(manifest.request_id);
    json["request_hash"] = absl::Base64Escape(manifest.request_hash);
    json["dataset"] = manifest.data_set;
  } else {
    json["upload_sha256"] = absl::BytesToHexString(manifest.upload_sha256);
  }
  if (manifest.stored) {
    json["stored"] = {{"size_bytes", manifest.stored->size_bytes},
                      {"sha256", manifest.stored->sha256}};
  }
  // Names come from outside: bytes that are not UTF-8 are replaced instead of refused.
  return json.dump(2, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace) + "\n";
}

absl::StatusOr<StateManifest> DecodeStateManifest(std::string_view text) {
  ASSIGN_OR_RETURN(const Json json, ParseStrictJsonObject(text, kLimits));
  ConfigReader reader(json, ConfigReader::Null::kValue);
  StateManifest manifest;
  int64_t version = 0;
  reader.Read("version", version, {kVersion, kVersion});
  ReadKind(reader, manifest.kind);
  reader.Read("name", manifest.name);
  ReadTime(reader, manifest.create_time);
  ReadBytes(reader, "resource", manifest.resource);
  ReadBytes(reader, "request_id", manifest.request_id);
  ReadBytes(reader, "request_hash", manifest.request_hash);
  reader.Read("dataset", manifest.data_set);
  std::string hash;
  reader.Read("upload_sha256", hash);
  const bool is_hex = hash.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (!is_hex || hash.size() % 2 != 0) reader.Violate("upload_sha256", "must be hexadecimal");
  if (is_hex && hash.size() % 2 == 0) manifest.upload_sha256 = absl::HexStringToBytes(hash);
  const Json* stored = reader.Find("stored");
  if (stored != nullptr && !stored->is_object()) reader.Violate("stored", "must be an object");
  if (version != kVersion) reader.Violate("version", absl::StrCat("must be ", kVersion));
  RETURN_IF_ERROR(reader.Finish("manifest"));
  if (stored != nullptr) {
    ASSIGN_OR_RETURN(manifest.stored, ReadFileEntry(*stored));
  }
  return manifest;
}

}  // namespace denoise
