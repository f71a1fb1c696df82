// Uploads for the tests of core/data, made by hand, well-formed or not.
#pragma once

#include <gmock/gmock.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/data/byte_source.h"
#include "core/data/data_set.h"
#include "core/data/ingest.h"
#include "core/data/tar_header.h"
#include "core/data/upload_reader.h"
#include "core/image/image.h"
#include "tests/core/image/image_testing.h"
#include "tests/core/io/io_testing.h"
#include "tests/support/temp_dir.h"

namespace denoise {

inline OpenBytes Upload(std::string bytes) {
  return [bytes = std::move(bytes)]() -> absl::StatusOr<std::unique_ptr<ByteSource>> {
    return std::make_unique<StringSource>(bytes);
  };
}

// A PNG of one color, different for every `seed`.
inline std::string Png(int seed = 0, int width = 8, int height = 8) {
  Image image{width, height, 3, {}};
  for (int i = 0; i < width * height; ++i) {
    for (int c = 0; c < 3; ++c) image.pixels.push_back(static_cast<uint8_t>(seed * (37 + c)));
  }
  return *EncodeImage(image, ImageFormat::kPng);
}

inline std::string Blocks(std::string_view data) {
  std::string blocks(data);
  blocks.append(static_cast<size_t>(TarPadding(static_cast<int64_t>(data.size()))), '\0');
  return blocks;
}

inline const std::string kTarEnd(2 * kTarBlockBytes, '\0');

// A header after a change to its fields, with the checksum that it then has.
inline std::string WithField(std::string header, size_t offset, std::string_view bytes) {
  std::string block = header.substr(header.size() - kTarBlockBytes);
  block.replace(offset, bytes.size(), bytes);
  block.replace(148, 8, 8, ' ');
  int sum = 0;
  for (char c : block) sum += static_cast<uint8_t>(c);
  char digits[8];
  std::snprintf(digits, sizeof(digits), "%06o", static_cast<unsigned>(sum) % (1u << 18));
  block.replace(148, 7, std::string_view(digits, 7));
  return header.substr(0, header.size() - kTarBlockBytes) + block;
}

inline std::string TarHeaderOf(char type, std::string_view name, int64_t size = 0) {
  return WithField(MakeTarHeader(name, size), 156, std::string_view(&type, 1));
}

inline std::string TarFile(std::string_view name, std::string_view data) {
  return MakeTarHeader(name, static_cast<int64_t>(data.size())) + Blocks(data);
}

// A header that says something of the next file: 'x', 'g', 'L', 'K'.
inline std::string TarExtension(char type, std::string_view data) {
  return TarHeaderOf(type, "extension", static_cast<int64_t>(data.size())) + Blocks(data);
}

// A pax record of less than 100 bytes.
inline std::string PaxRecord(const std::string& text) {
  const size_t size = text.size() + 4;
  return std::to_string(size > 10 ? size : size - 1) + " " + text + "\n";
}

inline std::string CifarRecord(int label, int pixel) {
  return std::string(1, static_cast<char>(label)) + std::string(3072, static_cast<char>(pixel));
}

inline std::string BigEndian(uint32_t number) {
  std::string bytes;
  for (int shift : {24, 16, 8, 0}) bytes += static_cast<char>(number >> shift);
  return bytes;
}

inline std::string IdxPictures(uint32_t count, uint32_t height, uint32_t width,
                               std::string_view pixels) {
  return BigEndian(0x803) + BigEndian(count) + BigEndian(height) + BigEndian(width) +
         std::string(pixels);
}

inline std::string IdxLabels(uint32_t count, std::string_view labels) {
  return BigEndian(0x801) + BigEndian(count) + std::string(labels);
}

// Everything that a reader gives, or why it stops.
inline absl::StatusOr<std::vector<UploadEntry>> ReadUpload(UploadFormat format, std::string bytes,
                                                           const UploadLimits& limits = {}) {
  auto reader = OpenUpload(format, Upload(std::move(bytes)), limits);
  if (!reader.ok()) return reader.status();
  std::vector<UploadEntry> entries;
  for (;;) {
    auto entry = (*reader)->Next();
    if (!entry.ok()) return entry.status();
    if (!*entry) return entries;
    entries.push_back(**std::move(entry));
  }
}

inline std::vector<std::string> Names(const std::vector<UploadEntry>& entries) {
  std::vector<std::string> names;
  for (const UploadEntry& entry : entries) names.push_back(entry.name());
  return names;
}

}  // namespace denoise
