#include "core/image/exif.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include "core/base/check.h"

namespace denoise {
namespace {

constexpr int kAsStored = 1;
constexpr std::string_view kExifHeader{"Exif\0\0", 6};

// The unsigned number of `size` bytes at `offset`, which must be within `bytes`.
uint32_t Number(std::string_view bytes, size_t offset, size_t size, bool big_endian) {
  uint32_t number = 0;
  for (size_t i = 0; i < size; ++i) {
    const size_t at = big_endian ? offset + i : offset + size - 1 - i;
    number = number << 8 | static_cast<uint8_t>(bytes[at]);
  }
  return number;
}

// Of a TIFF structure, with or without the header that JPEG puts before it.
int TiffOrientation(std::string_view tiff) {
  constexpr size_t kHeaderBytes = 8, kEntryBytes = 12;
  constexpr uint32_t kOrientationTag = 0x0112, kShort = 3, kLong = 4;
  if (tiff.starts_with(kExifHeader)) tiff.remove_prefix(kExifHeader.size());
  if (tiff.size() < kHeaderBytes) return kAsStored;
  const bool big_endian = tiff.starts_with("MM");
  if ((!big_endian && !tiff.starts_with("II")) || Number(tiff, 2, 2, big_endian) != 42) {
    return kAsStored;
  }
  const size_t directory = Number(tiff, 4, 4, big_endian);
  if (directory > tiff.size() - 2) return kAsStored;
  const size_t entries = Number(tiff, directory, 2, big_endian);
  for (size_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + i * kEntryBytes;
    if (entry + kEntryBytes > tiff.size()) break;
    if (Number(tiff, entry, 2, big_endian) != kOrientationTag) continue;
    // The standard asks for a short; some programs write a long, and viewers read it.
    const uint32_t type = Number(tiff, entry + 2, 2, big_endian);
    const bool is_one = Number(tiff, entry + 4, 4, big_endian) == 1;
    if (!is_one || (type != kShort && type != kLong)) return kAsStored;
    const uint32_t value = Number(tiff, entry + 8, type == kShort ? 2 : 4, big_endian);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : kAsStored;
  }
  return kAsStored;
}

}  // namespace

std::optional<int> SegmentOrientation(std::string_view app1) {
  if (!app1.starts_with(kExifHeader)) return std::nullopt;
  return TiffOrientation(app1);
}

// Chunks (PNG specification, third edition, section 5.3).
int PngOrientation(std::string_view file) {
  constexpr size_t kSignatureBytes = 8, kAroundContent = 12;  // length, type, checksum
  size_t at = kSignatureBytes;
  while (at <= file.size() && file.size() - at >= kAroundContent) {
    const size_t length = Number(file, at, 4, /*big_endian=*/true);
    if (length > file.size() - at - kAroundContent) break;
    if (file.substr(at + 4, 4) == "eXIf") return TiffOrientation(file.substr(at + 8, length));
    at += kAroundContent + length;
  }
  return kAsStored;
}

// Chunks of the RIFF container (WebP Container Specification), padded to an even size.
int WebpOrientation(std::string_view file) {
  constexpr size_t kRiffHeaderBytes = 12, kChunkHeaderBytes = 8;
  size_t at = kRiffHeaderBytes;
  while (at <= file.size() && file.size() - at >= kChunkHeaderBytes) {
    const size_t length = Number(file, at + 4, 4, /*big_endian=*/false);
    if (length > file.size() - at - kChunkHeaderBytes) break;
    if (file.substr(at, 4) == "EXIF") {
      return TiffOrientation(file.substr(at + kChunkHeaderBytes, length));
    }
    at += kChunkHeaderBytes + length + length % 2;
  }
  return kAsStored;
}

Image Upright(Image image, int orientation) {
  DENOISE_DCHECK(orientation >= 1 && orientation <= 8);
  if (orientation == kAsStored) return image;
  // The place (x, y) in the upright picture of what is stored in a given row and column.
  const bool swaps_sides = orientation >= 5;
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 ||
                          orientation == 8;  // what is stored first along a row comes last
  const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 ||
                           orientation == 7;  // and along a column
  Image upright{image.width, image.height, image.channels, {}};
  if (swaps_sides) std::swap(upright.width, upright.height);
  upright.pixels.resize(image.pixels.size());
  const auto channels = static_cast<size_t>(image.channels);
  for (int row = 0; row < image.height; ++row) {
    for (int column = 0; column < image.width; ++column) {
      const int along_row = from_right ? image.width - 1 - column : column;
      const int along_column = from_bottom ? image.height - 1 - row : row;
      const int x = swaps_sides ? along_column : along_row;
      const int y = swaps_sides ? along_row : along_column;
      const size_t from = (size_t{1} * row * image.width + column) * channels;
      const size_t to = (size_t{1} * y * upright.width + x) * channels;
      std::copy_n(&image.pixels[from], channels, &upright.pixels[to]);
    }
  }
  return upright;
}

}  // namespace denoise
