#include "core/base/read_file.h"

#include <algorithm>
#include <fstream>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

// The limit may be far beyond what any file has, so memory is taken as it is needed.
constexpr size_t kChunkBytes = size_t{1} << 20;

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::string& path, size_t max_bytes) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes;
  while (file && bytes.size() <= max_bytes) {
    const size_t before = bytes.size();
    bytes.resize(std::min(before + kChunkBytes, max_bytes + 1));
    file.read(bytes.data() + before, static_cast<std::streamsize>(bytes.size() - before));
    bytes.resize(before + static_cast<size_t>(file.gcount()));
  }
  if (bytes.size() > max_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(path, " has more than ", max_bytes, " bytes"));
  }
  // Reading a folder sets badbit; the end of a file sets only the other two bits.
  if (file.bad() || !file.eof())
    return absl::InvalidArgumentError(absl::StrCat("cannot read ", path));
  if (bytes.empty()) return absl::InvalidArgumentError(absl::StrCat(path, " is empty"));
  bytes.shrink_to_fit();
  return bytes;
}

}  // namespace denoise
