#include "core/data/entry_name.h"

#include <algorithm>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/quoted.h"

namespace denoise {
namespace {

// The length of the character that starts with `first`; 0 if none does.
size_t CharacterBytes(uint8_t first) {
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return 2;
  if (first >= 0xe0 && first <= 0xef) return 3;
  if (first >= 0xf0 && first <= 0xf4) return 4;
  return 0;
}

// The second byte reveals overlong forms, surrogates and code points beyond Unicode (RFC 3629,
// section 4).
bool IsSecondByte(uint8_t first, uint8_t second) {
  const uint8_t least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  const uint8_t most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  return second >= least && second <= most;
}

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

bool IsUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto first = static_cast<uint8_t>(text[i]);
    const size_t size = CharacterBytes(first);
    if (size == 0 || size > text.size() - i) return false;
    if (size > 1 && !IsSecondByte(first, static_cast<uint8_t>(text[i + 1]))) return false;
    for (size_t k = 2; k < size; ++k) {
      if ((static_cast<uint8_t>(text[i + k]) & 0xc0) != 0x80) return false;
    }
    i += size;
  }
  return true;
}

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
