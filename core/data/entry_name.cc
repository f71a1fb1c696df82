#include "core/data/entry_name.h"

#include <algorithm>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/quoted.h"
#include "core/base/utf8.h"

namespace denoise {
namespace {

bool IsControl(char c) {
  const auto byte = static_cast<uint8_t>(c);
  return byte < 0x20 || byte == 0x7f;
}

std::string Problem(std::string_view name) {
  if (name.size() > kMaxNameBytes) {
    return absl::StrCat("its name has more than ", kMaxNameBytes, " bytes");
  }
  if (!IsUtf8(name)) return "its name is not UTF-8";
  if (std::any_of(name.begin(), name.end(), IsControl)) return "its name holds control characters";
  return "";
}

absl::Status LeadsOut(std::string_view name) {
  return absl::InvalidArgumentError(
      absl::StrCat("the entry ", Quoted(name), " would lead out of the archive's folder"));
}

}  // namespace

absl::StatusOr<EntryName> ParseEntryName(std::string_view name) {
  if (name.starts_with('/')) return LeadsOut(name);
  EntryName parsed;
  std::string_view rest = name;
  while (!rest.empty()) {
    const size_t slash = rest.find('/');
    const std::string_view part = rest.substr(0, slash);
    rest.remove_prefix(slash == std::string_view::npos ? rest.size() : slash + 1);
    if (part.empty() || part == ".") continue;
    if (part == "..") return LeadsOut(name);
    parsed.hidden = parsed.hidden || part.starts_with('.');
    if (!parsed.file.empty()) {
      if (!parsed.folder.empty()) parsed.folder += '/';
      parsed.folder += parsed.file;
    }
    parsed.file = part;
  }
  parsed.problem = Problem(name);
  if (!parsed.problem.empty()) {
    parsed.folder = Escaped(parsed.folder);
    parsed.file = Escaped(parsed.file);
  }
  return parsed;
}

}  // namespace denoise
