#include "core/data/tar_header.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

// A field of a header.
struct Field {
  size_t offset;
  size_t size;
};
constexpr Field kName = {0, 100};
constexpr Field kMode = {100, 8};
constexpr Field kOwner = {108, 8};
constexpr Field kGroup = {116, 8};
constexpr Field kSize = {124, 12};
constexpr Field kTime = {136, 12};
constexpr Field kChecksum = {148, 8};
constexpr size_t kType = 156;
constexpr Field kMagic = {257, 8};
constexpr Field kPrefix = {345, 155};
constexpr size_t kSparseHeaderContinues = 482;
constexpr size_t kSparseMapContinues = 504;

constexpr std::string_view kUstarMagic{
    "ustar\0"
    "00",
    8};

// No file is larger, and the sum of two cannot overflow.
constexpr int64_t kMaxSize = int64_t{1} << 60;

std::string_view Bytes(const TarBlock& block, Field field) {
  return {block.data() + field.offset, field.size};
}

std::string_view Text(const TarBlock& block, Field field) {
  const std::string_view bytes = Bytes(block, field);
  return bytes.substr(0, bytes.find('\0'));
}

// Octal digits between spaces and zero bytes. No digits mean 0: old archives have such fields.
std::optional<int64_t> ParseOctal(std::string_view field) {
  while (field.starts_with(' ')) field.remove_prefix(1);
  int64_t number = 0;
  for (char c : field) {
    if (c == ' ' || c == '\0') break;
    if (c < '0' || c > '7' || number > kMaxSize / 8) return std::nullopt;
    number = number * 8 + (c - '0');
  }
  return number;
}

// GNU's format for numbers too large for octal: the first bit is set, the rest is big-endian.
std::optional<int64_t> ParseNumber(std::string_view field) {
  const auto first = static_cast<uint8_t>(field[0]);
  if (first < 0x80) return ParseOctal(field);
  if (first != 0x80) return std::nullopt;  // negative, or beyond any size
  int64_t number = 0;
  for (char c : field.substr(1)) {
    if (number > kMaxSize / 256) return std::nullopt;
    number = number * 256 + static_cast<uint8_t>(c);
  }
  return number;
}

// The sum of all bytes, counting those of the checksum as spaces. `Byte` is unsigned in POSIX, but
// was signed in some older programs.
template <typename Byte>
int64_t Checksum(const TarBlock& block) {
  int64_t sum = 0;
  for (size_t i = 0; i < block.size(); ++i) {
    const bool in_field = i >= kChecksum.offset && i < kChecksum.offset + kChecksum.size;
    sum += in_field ? ' ' : static_cast<Byte>(block[i]);
  }
  return sum;
}

TarType ParseType(char type) {
  switch (type) {
    case '\0':
    case '0':
      return TarType::kFile;
    case '1':
    case '2':
      return TarType::kLink;
    case '3':
    case '4':
    case '6':
      return TarType::kDevice;
    case '5':
      return TarType::kFolder;
    case '7':
      return TarType::kFile;
    case 'S':
      return TarType::kGnuSparse;
    case 'L':
      return TarType::kGnuLongName;
    case 'K':
      return TarType::kGnuLongLink;
    case 'x':
      return TarType::kPaxRecords;
    case 'g':
      return TarType::kPaxDefaults;
    default:
      return TarType::kOther;
  }
}

std::string ParseName(const TarBlock& block) {
  const std::string_view name = Text(block, kName);
  if (Bytes(block, kMagic) != kUstarMagic) return std::string(name);
  const std::string_view prefix = Text(block, kPrefix);
  if (prefix.empty()) return std::string(name);
  return absl::StrCat(std::string(prefix), "/", std::string(name));
}

absl::Status Malformed() {
  return absl::InvalidArgumentError("a pax header of the archive is malformed");
}

absl::Status AddPaxRecord(std::string_view key, std::string_view value, PaxRecords& records) {
  if (key == "path") {
    records.path = std::string(value);
  } else if (key == "size") {
    int64_t size = 0;
    if (!absl::SimpleAtoi(absl::string_view(value.data(), value.size()), &size) || size < 0 ||
        size > kMaxSize) {
      return Malformed();
    }
    records.size = size;
  } else if (key.starts_with("GNU.sparse.")) {
    records.sparse = true;
    if (key == "GNU.sparse.name") records.path = std::string(value);
  }
  return absl::OkStatus();
}

void Put(TarBlock& block, Field field, std::string_view text) {
  std::memcpy(block.data() + field.offset, text.data(), text.size());
}

// Digits followed by a zero byte.
void PutOctal(TarBlock& block, Field field, int64_t number) {
  const auto digits = static_cast<int>(field.size) - 1;
  Put(block, field, absl::StrFormat("%0*o", digits, number));
}

void PutSize(TarBlock& block, int64_t size) {
  constexpr int64_t kMaxOctal = (int64_t{1} << 33) - 1;  // eleven digits
  if (size <= kMaxOctal) return PutOctal(block, kSize, size);
  block[kSize.offset] = '\x80';
  for (size_t i = 0; i < sizeof(size); ++i) {
    block[kSize.offset + kSize.size - 1 - i] = static_cast<char>(size >> (8 * i));
  }
}

std::string MakeBlock(std::string_view name, char type, int64_t size) {
  TarBlock block = {};
  // What is cut off must not look like a folder's name to those who ignore the pax header.
  name = name.substr(0, kName.size);
  if (name.size() == kName.size && name.ends_with('/')) name.remove_suffix(1);
  Put(block, kName, name);
  PutOctal(block, kMode, 0644);
  PutOctal(block, kOwner, 0);
  PutOctal(block, kGroup, 0);
  PutSize(block, size);
  PutOctal(block, kTime, 0);
  block[kType] = type;
  Put(block, kMagic, kUstarMagic);
  Put(block, kChecksum, absl::StrFormat("%06o", Checksum<uint8_t>(block)) + std::string("\0 ", 2));
  return {block.data(), block.size()};
}

// "LENGTH key=value\n", where LENGTH counts itself.
std::string MakePaxRecord(std::string_view key, std::string_view value) {
  const size_t rest = key.size() + value.size() + 3;
  size_t length = rest + 1;
  while (absl::StrCat(length).size() + rest != length) ++length;
  return absl::StrCat(length, " ", std::string(key), "=", std::string(value), "\n");
}

}  // namespace

absl::StatusOr<std::optional<TarHeader>> ParseTarHeader(const TarBlock& block) {
  if (std::all_of(block.begin(), block.end(), [](char c) { return c == '\0'; }))
    return std::nullopt;
  const std::optional<int64_t> checksum = ParseOctal(Bytes(block, kChecksum));
  if (checksum != Checksum<uint8_t>(block) && checksum != Checksum<int8_t>(block)) {
    return absl::InvalidArgumentError("the checksum of a header is wrong");
  }
  TarHeader header;
  header.name = ParseName(block);
  header.type = ParseType(block[kType]);
  const std::optional<int64_t> size = ParseNumber(Bytes(block, kSize));
  if (!size) return absl::InvalidArgumentError("the size in a header is malformed");
  // Some archives give folders and links a size although no data follows.
  const bool has_data = header.type != TarType::kFolder && header.type != TarType::kLink &&
                        header.type != TarType::kDevice;
  header.data_bytes = has_data ? *size : 0;
  header.map_follows = header.type == TarType::kGnuSparse && block[kSparseHeaderContinues] != '\0';
  return header;
}

bool SparseMapContinues(const TarBlock& block) { return block[kSparseMapContinues] != '\0'; }

absl::StatusOr<PaxRecords> ParsePaxRecords(std::string_view text) {
  PaxRecords records;
  while (!text.empty()) {
    const size_t space = text.find(' ');
    size_t length = 0;
    if (space == std::string_view::npos ||
        !absl::SimpleAtoi(absl::string_view(text.data(), space), &length) || length < space + 3 ||
        length > text.size() || text[length - 1] != '\n') {
      return Malformed();
    }
    const std::string_view record = text.substr(space + 1, length - space - 2);
    const size_t equals = record.find('=');
    if (equals == std::string_view::npos) return Malformed();
    RETURN_IF_ERROR(AddPaxRecord(record.substr(0, equals), record.substr(equals + 1), records));
    text.remove_prefix(length);
  }
  return records;
}

std::string MakeTarHeader(std::string_view name, int64_t size) {
  std::string header;
  if (name.size() > kName.size) {
    const std::string record = MakePaxRecord("path", name);
    const auto bytes = static_cast<int64_t>(record.size());
    header = MakeBlock("pax-header", 'x', bytes) + record;
    header.append(static_cast<size_t>(TarPadding(bytes)), '\0');
  }
  return header + MakeBlock(name, '0', size);
}

int64_t TarPadding(int64_t size) {
  return (kTarBlockBytes - size % kTarBlockBytes) % kTarBlockBytes;
}

}  // namespace denoise
