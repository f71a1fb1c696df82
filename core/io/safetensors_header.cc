#include "core/io/safetensors_header.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "core/io/foreign_file.h"
#include "core/io/safetensors_dtype.h"
#include "core/json/strict_json.h"

namespace denoise {
namespace {

using Entry = SafetensorsHeader::Entry;
using Json = nlohmann::json;

constexpr size_t kSizeBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // as the reference implementation has it
constexpr JsonOptions kHeaderOptions = {.max_bytes = kMaxHeaderBytes, .max_values = 1 << 22};
constexpr size_t kMaxRank = 32;
constexpr char kMetadataKey[] = "__metadata__";

template <typename... Parts>
absl::Status Malformed(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

constexpr char kTruncated[] = "the file is truncated, copy or download it again";

// The number in the first eight bytes.
uint64_t FirstNumber(std::string_view beginning) {
  uint64_t size = 0;
  for (size_t i = 0; i < kSizeBytes; ++i) {
    size |= uint64_t{static_cast<uint8_t>(beginning[i])} << (8 * i);
  }
  return size;
}

// Whether it cannot be the size of a header, as in files of other kinds.
bool BeginsWithHugeSize(std::string_view beginning) {
  return beginning.size() >= kSizeBytes && FirstNumber(beginning) > kMaxHeaderBytes;
}

// The size of the header's text, checked to lie within the file.
absl::StatusOr<size_t> HeaderSize(std::string_view beginning, size_t file_size) {
  if (file_size < kSizeBytes) return Malformed("shorter than the 8 bytes of its header size");
  const uint64_t size = FirstNumber(beginning);
  if (size > kMaxHeaderBytes) {
    return Malformed("a header of ", size, " bytes is larger than ", kMaxHeaderBytes);
  }
  if (size > file_size - kSizeBytes)
    return Malformed("the header ends beyond the end of the file: ", kTruncated);
  return size;
}

absl::StatusOr<std::string_view> FindHeader(std::string_view beginning, size_t file_size) {
  ASSIGN_OR_RETURN(const size_t size, HeaderSize(beginning, file_size));
  const std::string_view text = beginning.substr(kSizeBytes, size);
  if (!text.starts_with('{')) return Malformed("the header does not begin with {");
  return text;
}

// Whether the file begins with a line of printable text, such as the answer of a server that was
// saved in place of the file.
bool IsText(std::string_view file) {
  constexpr size_t kBytes = 200;
  const std::string_view beginning = file.substr(0, kBytes);
  return std::all_of(beginning.begin(), beginning.end(), [](char c) {
    return absl::ascii_isprint(static_cast<unsigned char>(c)) ||
           absl::ascii_isspace(static_cast<unsigned char>(c));
  });
}

std::string FirstLine(std::string_view text) {
  constexpr size_t kBytes = 80;
  return Quoted(text.substr(0, std::min(text.find_first_of("\r\n"), kBytes)));
}

// The text of the header. If there is none, the error says what kind of file it is instead.
absl::StatusOr<std::string_view> HeaderText(std::string_view file, size_t file_size) {
  absl::StatusOr<std::string_view> text = FindHeader(file, file_size);
  if (text.ok()) return text;
  if (file.size() > kSizeBytes && file[kSizeBytes] == '{') return text;  // a part of one
  if (const auto kind = ForeignKind(file)) return Malformed(*kind);
  if (file.starts_with('{') && file.find('\0') == std::string_view::npos) {
    return Malformed("is JSON text, not weights; copy or download it again");
  }
  if (IsText(file)) {
    return Malformed("is text, not weights: ", FirstLine(file), "; copy or download it again");
  }
  if (BeginsWithHugeSize(file)) {
    return Malformed("is not a safetensors file; copy or download it again");
  }
  return text;
}

// The unsigned integer `value` where it fits 63 bits.
std::optional<int64_t> AsSize(const Json& value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  const auto size = value.get<uint64_t>();
  if (size > uint64_t{std::numeric_limits<int64_t>::max()}) return std::nullopt;
  return static_cast<int64_t>(size);
}

absl::StatusOr<std::vector<int64_t>> ParseShape(const Json& value) {
  if (!value.is_array()) return Malformed("shape is not a list");
  if (value.size() > kMaxRank) return Malformed("shape has more than ", kMaxRank, " dimensions");
  std::vector<int64_t> shape;
  for (const Json& element : value) {
    const std::optional<int64_t> size = AsSize(element);
    if (!size) return Malformed("shape holds something else than non-negative integers below 2^63");
    shape.push_back(*size);
  }
  return shape;
}

// In bytes. Zeros count as ones while the product is checked: strides are computed from the others.
absl::StatusOr<size_t> SizeOf(const std::vector<int64_t>& shape, const SafetensorsDtype& dtype) {
  int64_t product = static_cast<int64_t>(dtype.size);
  for (int64_t size : shape) {
    if (__builtin_mul_overflow(product, std::max<int64_t>(size, 1), &product)) {
      return Malformed("the product of its shape overflows");
    }
  }
  const bool empty = std::find(shape.begin(), shape.end(), 0) != shape.end();
  return empty ? 0 : static_cast<size_t>(product);
}

absl::Status ParseOffsets(const Json& value, size_t data_size, Entry& entry) {
  if (!value.is_array() || value.size() != 2) return Malformed("data_offsets is not a pair");
  const std::optional<int64_t> begin = AsSize(value[0]);
  const std::optional<int64_t> end = AsSize(value[1]);
  if (!begin || !end) return Malformed("data_offsets are not non-negative integers below 2^63");
  if (*begin > *end) return Malformed("data_offsets end before they begin");
  entry.begin = static_cast<size_t>(*begin);
  entry.end = static_cast<size_t>(*end);
  if (entry.end > data_size) {
    return Malformed("data_offsets end at ", entry.end, ", beyond the ", data_size,
                     " bytes of data in the file: ", kTruncated);
  }
  return absl::OkStatus();
}

absl::StatusOr<Entry> ParseEntry(const Json& value, size_t data_size) {
  if (!value.is_object()) return Malformed("is not described by an object");
  for (const char* key : {"dtype", "shape", "data_offsets"}) {
    if (!value.contains(key)) return Malformed("has no ", key);
  }
  for (const auto& [key, unused] : value.items()) {
    if (key != "dtype" && key != "shape" && key != "data_offsets") {
      return Malformed("has an unknown key ", Quoted(key));
    }
  }
  if (!value["dtype"].is_string()) return Malformed("dtype is not a string");
  Entry entry{.dtype = value["dtype"].get<std::string>()};
  const SafetensorsDtype* dtype = FindDtype(entry.dtype);
  if (dtype == nullptr) return Malformed("has an unknown dtype ", Quoted(entry.dtype));
  ASSIGN_OR_RETURN(entry.shape, ParseShape(value["shape"]));
  RETURN_IF_ERROR(ParseOffsets(value["data_offsets"], data_size, entry));
  ASSIGN_OR_RETURN(const size_t size, SizeOf(entry.shape, *dtype));
  if (entry.end - entry.begin != size) {
    return Malformed("its shape takes ", size, " bytes, its data_offsets ",
                     entry.end - entry.begin);
  }
  return entry;
}

absl::StatusOr<std::map<std::string, std::string>> ParseMetadata(const Json& value) {
  if (!value.is_object()) return Malformed(kMetadataKey, " is not an object");
  std::map<std::string, std::string> metadata;
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) return Malformed(kMetadataKey, ": ", Quoted(key), " is not a string");
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

// Laid end to end, the tensors are the data: no overlap, no hole, nothing left.
absl::Status CheckCoverage(const std::map<std::string, Entry>& tensors, size_t data_size) {
  std::vector<std::pair<const std::string*, const Entry*>> order;
  for (const auto& [name, entry] : tensors) order.emplace_back(&name, &entry);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::pair(a.second->begin, a.second->end) < std::pair(b.second->begin, b.second->end);
  });
  size_t covered = 0;
  const std::string* previous = nullptr;
  for (const auto& [name, entry] : order) {
    if (entry->begin < covered)
      return Malformed("tensor ", Quoted(*name), " overlaps ", Quoted(*previous));
    if (entry->begin > covered) {
      return Malformed("a hole of ", entry->begin - covered, " bytes before tensor ",
                       Quoted(*name));
    }
    covered = entry->end;
    previous = name;
  }
  if (covered == data_size) return absl::OkStatus();
  return Malformed(data_size - covered, " bytes at the end belong to no tensor");
}

}  // namespace

size_t SafetensorsHeaderEnd(std::string_view beginning, size_t file_size) {
  const absl::StatusOr<size_t> size = HeaderSize(beginning, file_size);
  return size.ok() ? kSizeBytes + *size : 0;
}

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(std::string_view beginning,
                                                         size_t file_size) {
  ASSIGN_OR_RETURN(const std::string_view text, HeaderText(beginning, file_size));
  absl::StatusOr<Json> json = ParseStrictJson(text, kHeaderOptions);
  if (!json.ok()) return Malformed("header: ", json.status().message());
  SafetensorsHeader header{.data_offset = kSizeBytes + text.size()};
  const size_t data_size = file_size - header.data_offset;
  for (const auto& [name, value] : json->items()) {
    if (name == kMetadataKey) {
      ASSIGN_OR_RETURN(header.metadata, ParseMetadata(value));
      continue;
    }
    absl::StatusOr<Entry> entry = ParseEntry(value, data_size);
    if (!entry.ok()) return Malformed("tensor ", Quoted(name), ": ", entry.status().message());
    header.tensors[name] = *std::move(entry);
  }
  RETURN_IF_ERROR(CheckCoverage(header.tensors, data_size));
  return header;
}

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(std::string_view file) {
  return ParseSafetensorsHeader(file, file.size());
}

}  // namespace denoise
