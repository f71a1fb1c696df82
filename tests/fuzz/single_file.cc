// What begins with 'f' is a file behind that; all else a list of tensors, a line each: a name, a
// space, and its sizes, a digit each.
#include <set>
#include <sstream>
#include <string>

#include "core/io/safetensors_header.h"
#include "core/pipeline/single_file_layout.h"
#include "tests/fuzz/fuzz_target.h"

namespace denoise {
namespace {

SafetensorsHeader ReadLines(std::string_view text) {
  SafetensorsHeader header;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    const size_t space = std::min(line.find(' '), line.size());
    SafetensorsHeader::Entry& entry = header.tensors[line.substr(0, space)];
    entry.dtype = "F16";
    for (size_t i = space + 1; i < line.size() && entry.shape.size() < 8; ++i) {
      if (line[i] >= '0' && line[i] <= '9') entry.shape.push_back(line[i] - '0');
    }
  }
  return header;
}

std::set<std::string> Originals(const SingleFileLayout& layout) {
  std::set<std::string> originals;
  for (const auto& [part, origins] : layout.parts) {
    for (const auto& [name, origin] : origins) originals.insert(origin.original);
  }
  return originals;
}

int64_t CountIgnored(const SingleFileLayout& layout) {
  int64_t ignored = 0;
  for (const auto& [name, count] : layout.ignored) ignored += count;
  return ignored;
}

void CheckLayout(const SafetensorsHeader& header, const SingleFileLayout& layout) {
  const std::set<std::string> originals = Originals(layout);
  for (const std::string& name : originals) {
    Require(header.tensors.contains(name), "every tensor of a part is in the file");
  }
  Require(originals.size() + static_cast<size_t>(CountIgnored(layout)) == header.tensors.size(),
          "every tensor of the file is used or ignored");
  for (const auto& [part, origins] : layout.parts) {
    Require(CountPartParameters(header, origins) >= 0, "parameters are counted");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = AsText(data, size);
  const bool is_file = text.starts_with('f');
  const absl::StatusOr<SafetensorsHeader> header =
      is_file ? ParseSafetensorsHeader(text.substr(1)) : ReadLines(text);
  if (!header.ok()) return 0;
  absl::StatusOr<SingleFileLayout> layout = ReadSingleFileLayout(*header);
  if (!layout.ok()) {
    Require(absl::IsInvalidArgument(layout.status()), "a bad file is INVALID_ARGUMENT");
    return 0;
  }
  Require(layout->family != nullptr, "a file has a family");
  CheckLayout(*header, *layout);
  KeepUsedText(*layout);
  CheckLayout(*header, *layout);
  return 0;
}

}  // namespace denoise
