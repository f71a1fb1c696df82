#include "core/data/zip_records.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "core/base/status_macros.h"
#include "core/base/utf8.h"
#include "core/data/data_set_schema.h"
#include "core/data/entry_name.h"

namespace denoise {
namespace {

constexpr uint32_t kEndSignature = 0x06054b50;
constexpr uint32_t kEnd64LocatorSignature = 0x07064b50;
constexpr uint32_t kEnd64Signature = 0x06064b50;
constexpr uint32_t kEntrySignature = 0x02014b50;
constexpr uint32_t kHeaderSignature = 0x04034b50;
constexpr size_t kEndBytes = 22;
constexpr size_t kEnd64LocatorBytes = 20;
constexpr size_t kEnd64Bytes = 56;

// Values that stand in a zip64 field instead.
constexpr uint32_t kElsewhere32 = 0xffffffff;
constexpr uint16_t kElsewhere16 = 0xffff;

// No archive is larger, and the sum of three cannot overflow.
constexpr uint64_t kMaxSize = uint64_t{1} << 60;

// The characters 0x80 to 0xff of IBM's code page 437.
constexpr std::u32string_view kUpperCp437 =
    U"ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒ"
    U"áíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐"
    U"└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀"
    U"αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■ ";
static_assert(kUpperCp437.size() == 0x80);

// Reads little-endian numbers. Requires them to be within `bytes`.
template <typename Number>
Number Get(std::string_view bytes, size_t offset) {
  Number number = 0;
  for (size_t i = sizeof(Number); i-- > 0;) {
    number = static_cast<Number>(uint64_t{number} << 8 | static_cast<uint8_t>(bytes[offset + i]));
  }
  return number;
}

absl::Status Malformed() {
  return absl::InvalidArgumentError("the zip archive's list of files is damaged");
}

absl::Status NoEnd() {
  return absl::InvalidArgumentError(
      "the zip archive is cut short: it does not end with its list of files");
}

// The offset of the last record that a comment of the right length follows.
std::optional<size_t> FindEnd(std::string_view tail) {
  if (tail.size() < kEndBytes) return std::nullopt;
  for (size_t at = tail.size() - kEndBytes + 1; at-- > 0;) {
    if (Get<uint32_t>(tail, at) != kEndSignature) continue;
    if (at + kEndBytes + Get<uint16_t>(tail, at + 20) == tail.size()) return at;
  }
  return std::nullopt;
}

// The fields of an extra field with this id; empty where there is none.
std::string_view FindExtra(std::string_view extra, uint16_t id) {
  while (extra.size() >= 4) {
    const size_t size = Get<uint16_t>(extra, 2);
    if (size > extra.size() - 4) break;
    if (Get<uint16_t>(extra, 0) == id) return extra.substr(4, size);
    extra.remove_prefix(4 + size);
  }
  return {};
}

// The next 64-bit number of a zip64 field, if `value` stands there.
bool TakeZip64(std::string_view& field, uint64_t& value) {
  if (value != kElsewhere32) return true;
  if (field.size() < 8) return false;
  value = Get<uint64_t>(field, 0);
  field.remove_prefix(8);
  return true;
}

// Info-ZIP's Unicode path, which counts only for the name that it was made for.
std::string_view UnicodePath(std::string_view extra, std::string_view name) {
  constexpr uint16_t kUnicodePath = 0x7075;
  const std::string_view field = FindExtra(extra, kUnicodePath);
  if (field.size() < 5 || field[0] != 1 || Get<uint32_t>(field, 1) != Crc32(name)) return {};
  return field.substr(5);
}

void AppendUtf8(char32_t c, std::string& text) {
  const auto tail = [c](int shift) { return static_cast<char>(0x80 | (c >> shift & 0x3f)); };
  if (c < 0x80) {
    text += static_cast<char>(c);
  } else if (c < 0x800) {
    text += {static_cast<char>(0xc0 | c >> 6), tail(0)};
  } else {
    text += {static_cast<char>(0xe0 | c >> 12), tail(6), tail(0)};
  }
}

std::string FromCp437(std::string_view name) {
  std::string text;
  for (const char c : name) {
    const auto byte = static_cast<uint8_t>(c);
    AppendUtf8(byte < 0x80 ? byte : kUpperCp437[byte - 0x80], text);
  }
  return text;
}

// APPNOTE.TXT, appendix D: UTF-8 or code page 437, as a flag says. Many programs write UTF-8 without
// the flag, which names in the code page hardly ever look like.
std::string NameOf(std::string_view name, std::string_view extra, bool is_utf8, bool from_dos) {
  if (const std::string_view path = UnicodePath(extra, name); !path.empty()) {
    name = path;
    is_utf8 = true;
  }
  std::string result = is_utf8 || IsUtf8(name) ? std::string(name) : FromCp437(name);
  // Some programs for Windows write its separators.
  if (from_dos && result.find('/') == std::string::npos) {
    std::replace(result.begin(), result.end(), '\\', '/');
  }
  return result;
}

}  // namespace

absl::StatusOr<ZipEnd> ParseZipEnd(std::string_view tail, int64_t archive_bytes) {
  const std::optional<size_t> found = FindEnd(tail);
  if (!found) return NoEnd();
  size_t record = *found;
  uint64_t entries = Get<uint16_t>(tail, record + 10);
  uint64_t list_bytes = Get<uint32_t>(tail, record + 12);
  uint64_t list_offset = Get<uint32_t>(tail, record + 16);
  const bool has_64 = record >= kEnd64LocatorBytes + kEnd64Bytes &&
                      Get<uint32_t>(tail, record - kEnd64LocatorBytes) == kEnd64LocatorSignature;
  if (has_64) {
    record -= kEnd64LocatorBytes + kEnd64Bytes;
    if (Get<uint32_t>(tail, record) != kEnd64Signature) return Malformed();
    entries = Get<uint64_t>(tail, record + 32);
    list_bytes = Get<uint64_t>(tail, record + 40);
    list_offset = Get<uint64_t>(tail, record + 48);
  } else if (entries == kElsewhere16 && list_offset == kElsewhere32) {
    return Malformed();
  }
  const uint64_t list_end =
      static_cast<uint64_t>(archive_bytes) - static_cast<uint64_t>(tail.size() - record);
  if (list_bytes > list_end || list_offset > list_end - list_bytes ||
      entries > list_bytes / kZipEntryBytes) {
    return Malformed();
  }
  return ZipEnd{.entries = entries,
                .list_offset = static_cast<int64_t>(list_end - list_bytes),
                .list_bytes = static_cast<int64_t>(list_bytes),
                .shift = static_cast<int64_t>(list_end - list_bytes - list_offset)};
}

absl::StatusOr<size_t> ZipEntryVariableBytes(std::string_view fixed) {
  if (fixed.size() != kZipEntryBytes || Get<uint32_t>(fixed, 0) != kEntrySignature) {
    return Malformed();
  }
  return size_t{Get<uint16_t>(fixed, 28)} + Get<uint16_t>(fixed, 30) + Get<uint16_t>(fixed, 32);
}

absl::StatusOr<ZipEntry> ParseZipEntry(std::string_view fixed, std::string_view variable) {
  constexpr uint8_t kDos = 0, kUnix = 3, kNtfs = 10;
  constexpr uint32_t kTypeMask = 0xf000, kLink = 0xa000;
  constexpr uint16_t kZip64 = 0x0001, kUtf8Flag = 1 << 11;
  ASSIGN_OR_RETURN(const size_t variable_bytes, ZipEntryVariableBytes(fixed));
  if (variable.size() != variable_bytes) return Malformed();
  const size_t name_bytes = Get<uint16_t>(fixed, 28);
  const std::string_view extra = variable.substr(name_bytes, Get<uint16_t>(fixed, 30));
  const auto system = static_cast<uint8_t>(fixed[5]);
  uint64_t unpacked = Get<uint32_t>(fixed, 24), packed = Get<uint32_t>(fixed, 20),
           offset = Get<uint32_t>(fixed, 42);
  std::string_view zip64 = FindExtra(extra, kZip64);
  if (!TakeZip64(zip64, unpacked) || !TakeZip64(zip64, packed) || !TakeZip64(zip64, offset) ||
      unpacked > kMaxSize || packed > kMaxSize || offset > kMaxSize) {
    return Malformed();
  }
  return ZipEntry{
      .name = NameOf(variable.substr(0, name_bytes), extra,
                     (Get<uint16_t>(fixed, 8) & kUtf8Flag) != 0, system == kDos || system == kNtfs),
      .method = Get<uint16_t>(fixed, 10),
      .encrypted = (Get<uint16_t>(fixed, 8) & 1) != 0,
      .is_link = system == kUnix && (Get<uint32_t>(fixed, 38) >> 16 & kTypeMask) == kLink,
      .crc32 = Get<uint32_t>(fixed, 16),
      .packed_bytes = static_cast<int64_t>(packed),
      .unpacked_bytes = static_cast<int64_t>(unpacked),
      .offset = static_cast<int64_t>(offset)};
}

absl::StatusOr<size_t> ZipHeaderVariableBytes(std::string_view fixed) {
  if (fixed.size() != kZipHeaderBytes || Get<uint32_t>(fixed, 0) != kHeaderSignature) {
    return absl::InvalidArgumentError("a file of the zip archive is not where its list says");
  }
  return size_t{Get<uint16_t>(fixed, 26)} + Get<uint16_t>(fixed, 28);
}

}  // namespace denoise
