#include <bit>

#include "absl/strings/str_cat.h"
#include "core/image/image.h"

namespace denoise {

static_assert(std::endian::native == std::endian::little,
              "the values are written as they lie in memory");

// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html: magic, version 1.0, the
// length of the header in two bytes, and a Python literal padded with spaces and a newline to a
// multiple of 64 bytes in all.
std::string EncodeNpy(std::span<const float> values, std::span<const int64_t> shape) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (";
  for (int64_t size : shape) absl::StrAppend(&header, size, ", ");
  if (shape.size() > 1) header.resize(header.size() - 2);  // (3, 4)
  if (shape.size() == 1) header.pop_back();                // (3,)
  header += "), }";
  constexpr size_t kPreamble = 10, kAlignment = 64;
  const size_t unpadded = kPreamble + header.size() + 1;
  header.append((kAlignment - unpadded % kAlignment) % kAlignment, ' ');
  header += '\n';

  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(header.size() & 0xff);
  bytes += static_cast<char>(header.size() >> 8);
  bytes += header;
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  return bytes;
}

}  // namespace denoise
