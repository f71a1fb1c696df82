// The names of files in an upload: which are taken, and which class a file belongs to.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace denoise {

inline constexpr size_t kMaxNameBytes = 1024;

struct EntryName {
  std::string folder;   // "train/cats"; empty: none
  std::string file;     // "1.png"; empty where the name is that of the folder that holds everything
  bool hidden = false;  // it or a folder above it begins with a dot, as what macOS adds does
  std::string problem;  // why no file can have this name here; `file` is then what to call it
};

// `name` as an archive writes it, less "./", doubled slashes and a final one. InvalidArgument, with
// the name escaped, where it would lead out of the folder that an archive is unpacked in: it begins
// with a slash or has a "..". Names that are too long, not UTF-8 or hold control characters are
// problems.
absl::StatusOr<EntryName> ParseEntryName(std::string_view name);

bool IsUtf8(std::string_view text);

}  // namespace denoise
