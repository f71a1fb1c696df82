#include "core/data/cifar_reader.h"

#include <array>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status_macros.h"
#include "core/image/image.h"

namespace denoise {
namespace {

constexpr int kSide = 32;
constexpr size_t kPlane = size_t{kSide} * kSide;
constexpr size_t kRecordBytes = 1 + 3 * kPlane;

// By label, as published; they happen to be in the order of their names.
constexpr std::array<std::string_view, 10> kClasses = {
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"};

// A record has the planes of red, green and blue one after the other.
Image PictureOf(std::string_view planes) {
  Image image{kSide, kSide, 3, std::vector<uint8_t>(3 * kPlane)};
  for (size_t i = 0; i < kPlane; ++i) {
    for (size_t c = 0; c < 3; ++c) {
      image.pixels[i * 3 + c] = static_cast<uint8_t>(planes[c * kPlane + i]);
    }
  }
  return image;
}

}  // namespace

absl::StatusOr<std::optional<UploadEntry>> CifarReader::Next() {
  ASSIGN_OR_RETURN(const std::string record, ReadString(*records_, kRecordBytes));
  if (record.empty()) return std::nullopt;
  if (record.size() < kRecordBytes) {
    return absl::InvalidArgumentError(absl::StrCat("it ends within record ", next_, ", after ",
                                                   record.size(), " of ", kRecordBytes, " bytes"));
  }
  const auto label = static_cast<uint8_t>(record[0]);
  if (label >= kClasses.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("record ", next_, " has label ", label, "; CIFAR-10 has labels 0 to 9"));
  }
  UploadEntry entry;
  entry.folder = kClasses[label];
  entry.file = absl::StrFormat("%05d.png", next_++);
  ASSIGN_OR_RETURN(entry.bytes,
                   EncodeImage(PictureOf(std::string_view(record).substr(1)), ImageFormat::kPng));
  return entry;
}

}  // namespace denoise
