// manifest.json in the folder of a data set or a training job: what the folder holds, so that a
// server can take it up again when its database does not know it.
//
// No gRPC and no proto: the resource is a serialised message that the reader of the manifest
// parses. Pure functions, except for those that name a folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace denoise {

struct StateManifest {
  enum class Kind { kDataSet, kTrainingJob };
  struct File {
    int64_t size_bytes = 0;
    std::string sha256;  // lower-case hexadecimal

    bool operator==(const File&) const = default;
  };

  Kind kind = Kind::kDataSet;
  std::string name;  // "datasets/emoji", "trainingJobs/17"
  absl::Time create_time;
  std::string resource;  // the message of the contract, serialised

  // Data sets.
  std::string upload_sha256;   // of the upload, 32 bytes
  std::optional<File> stored;  // once it has been read

  // Jobs.
  std::string request_id;  // may be empty
  std::string request_hash;
  std::string data_set;  // "datasets/emoji"

  bool operator==(const StateManifest&) const = default;
};

std::string EncodeStateManifest(const StateManifest& manifest);
// `json` may be anything. InvalidArgument: not a manifest.
absl::StatusOr<StateManifest> DecodeStateManifest(std::string_view json);

// Replaces the folder's manifest. Errors are those of DiskStatus.
absl::Status WriteStateManifest(const std::filesystem::path& folder, const StateManifest& manifest);
// nullopt where there is none, or it is not one. Errors are those of DiskStatus.
absl::StatusOr<std::optional<StateManifest>> ReadStateManifest(const std::filesystem::path& folder);

}  // namespace denoise
