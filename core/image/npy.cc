#include <bit>
#include <charconv>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/image/image.h"

namespace denoise {

static_assert(std::endian::native == std::endian::little,
              "values are copied without swapping bytes");

namespace {

constexpr std::string_view kMagic("\x93NUMPY\x01\x00", 8);  // including the version
constexpr size_t kPreamble = 10;                            // magic and the header's length
constexpr int64_t kMostValues = int64_t{1} << 40;

// Parses a header from front to back.
class HeaderReader {
 public:
  explicit HeaderReader(std::string_view text) : rest_(text) {}

  bool Take(std::string_view token) {
    SkipSpaces();
    if (!rest_.starts_with(token)) return false;
    rest_.remove_prefix(token.size());
    return true;
  }

  bool TakeSize(int64_t& size) {
    SkipSpaces();
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), size);
    if (error != std::errc() || size < 0) return false;
    rest_.remove_prefix(end - rest_.data());
    return true;
  }

  bool AtEnd() {
    SkipSpaces();
    return rest_ == "\n";
  }

 private:
  void SkipSpaces() {
    while (rest_.starts_with(' ')) rest_.remove_prefix(1);
  }

  std::string_view rest_;
};

bool TakeShape(HeaderReader& reader, std::vector<int64_t>& shape) {
  if (!reader.Take("(")) return false;
  while (!reader.Take(")")) {
    if (!reader.TakeSize(shape.emplace_back())) return false;
    if (!reader.Take(",")) return shape.size() > 1 && reader.Take(")");
  }
  return true;
}

absl::StatusOr<std::vector<int64_t>> ReadShape(std::string_view header) {
  HeaderReader reader(header);
  if (!reader.Take("{") || !reader.Take("'descr'") || !reader.Take(":")) {
    return absl::InvalidArgumentError("npy: the header is malformed");
  }
  if (!reader.Take("'<f4'")) {
    return absl::InvalidArgumentError("npy: the values are not little-endian float32");
  }
  if (!reader.Take(",") || !reader.Take("'fortran_order'") || !reader.Take(":")) {
    return absl::InvalidArgumentError("npy: the header is malformed");
  }
  if (!reader.Take("False"))
    return absl::InvalidArgumentError("npy: the values are not in C order");
  std::vector<int64_t> shape;
  if (!reader.Take(",") || !reader.Take("'shape'") || !reader.Take(":") ||
      !TakeShape(reader, shape) || !reader.Take(",") || !reader.Take("}") || !reader.AtEnd()) {
    return absl::InvalidArgumentError("npy: the header is malformed");
  }
  return shape;
}

// The number of values in a shape from outside; -1 if no file could hold them.
int64_t CountValues(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (int64_t size : shape) {
    if (size > 0 && count > kMostValues / size) return -1;
    count *= size;
  }
  return count;
}

}  // namespace

// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html: magic, version 1.0, the
// length of the header in two bytes, and a Python literal padded with spaces and a newline to a
// multiple of 64 bytes in all.
std::string EncodeNpy(std::span<const float> values, std::span<const int64_t> shape) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (";
  for (int64_t size : shape) absl::StrAppend(&header, size, ", ");
  if (shape.size() > 1) header.resize(header.size() - 2);  // (3, 4)
  if (shape.size() == 1) header.pop_back();                // (3,)
  header += "), }";
  constexpr size_t kAlignment = 64;
  const size_t unpadded = kPreamble + header.size() + 1;
  header.append((kAlignment - unpadded % kAlignment) % kAlignment, ' ');
  header += '\n';

  std::string bytes(kMagic);
  bytes += static_cast<char>(header.size() & 0xff);
  bytes += static_cast<char>(header.size() >> 8);
  bytes += header;
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  return bytes;
}

absl::StatusOr<NpyArray> DecodeNpy(std::string_view bytes) {
  if (!bytes.starts_with(kMagic) || bytes.size() < kPreamble) {
    return absl::InvalidArgumentError("npy: not a numpy file of version 1.0");
  }
  const size_t header_size =
      static_cast<uint8_t>(bytes[8]) | static_cast<size_t>(static_cast<uint8_t>(bytes[9])) << 8;
  if (bytes.size() < kPreamble + header_size) {
    return absl::InvalidArgumentError("npy: the file is cut short");
  }
  NpyArray array;
  ASSIGN_OR_RETURN(array.shape, ReadShape(bytes.substr(kPreamble, header_size)));
  const std::string_view data = bytes.substr(kPreamble + header_size);
  const int64_t count = CountValues(array.shape);
  if (count < 0 || data.size() != static_cast<size_t>(count) * sizeof(float)) {
    return absl::InvalidArgumentError(absl::StrCat("npy: the file holds ", data.size(),
                                                   " bytes of values, which does not match its "
                                                   "shape"));
  }
  array.values.resize(count);
  if (count > 0) std::memcpy(array.values.data(), data.data(), data.size());
  return array;
}

}  // namespace denoise
