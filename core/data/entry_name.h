// The names of files in an upload, checked and split into folder and file.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace denoise {

inline constexpr size_t kMaxNameBytes = 1024;

struct EntryName {
  std::string folder;   // "train/cats"; empty: none
  std::string file;     // "1.png"; empty if the name is that of the archive's root folder
  bool hidden = false;  // it or a folder above it begins with a dot, like the files macOS adds
  std::string problem;  // why this name is not accepted; both parts are then escaped
};

// Parses `name` as an archive writes it, without "./", double slashes and a final slash.
// InvalidArgument, with the name escaped: it begins with a slash or contains "..", so it would lead
// out of the folder that the archive is unpacked in. Names that are too long, not UTF-8 or contain
// control characters have a `problem`.
absl::StatusOr<EntryName> ParseEntryName(std::string_view name);

}  // namespace denoise
