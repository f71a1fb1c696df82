// manifest.json of a training checkpoint: its kind, name and age, and the sizes and hashes of its
// other files. Internal to CheckpointFolder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace denoise {

inline constexpr char kManifestFile[] = "manifest.json";
inline constexpr char kSnapshotFile[] = "snapshot.safetensors";
inline constexpr char kStateFile[] = "state.json";

struct CheckpointManifest {
  struct File {
    int64_t size_bytes = 0;
    std::string sha256;  // lower-case hexadecimal

    bool operator==(const File&) const = default;
  };

  int64_t step = 0;
  absl::Time create_time = absl::UnixEpoch();  // unless an earlier version has written it
  File snapshot;
  File state;
};

// Describes the files in `folder`. NotFound: one of them is missing. Errors do not name the folder.
absl::StatusOr<CheckpointManifest> DescribeCheckpoint(const std::filesystem::path& folder,
                                                      int64_t step);

std::string EncodeManifest(const CheckpointManifest& manifest);
// `json` may be anything. InvalidArgument: not a manifest.
absl::StatusOr<CheckpointManifest> DecodeManifest(std::string_view json);

}  // namespace denoise
