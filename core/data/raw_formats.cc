#include "core/data/raw_formats.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status_macros.h"
#include "core/image/image.h"

namespace denoise {
namespace {

constexpr int kCifarSide = 32;
constexpr size_t kCifarPlane = size_t{kCifarSide} * kCifarSide;
constexpr size_t kCifarRecordBytes = 1 + 3 * kCifarPlane;

// By label, as published; this happens to be alphabetical order.
constexpr std::array<std::string_view, 10> kCifarClasses = {
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"};

// A record holds the red plane, then green, then blue.
Image CifarPicture(std::string_view planes) {
  Image image{kCifarSide, kCifarSide, 3, std::vector<uint8_t>(3 * kCifarPlane)};
  for (size_t i = 0; i < kCifarPlane; ++i) {
    for (size_t c = 0; c < 3; ++c) {
      image.pixels[i * 3 + c] = static_cast<uint8_t>(planes[c * kCifarPlane + i]);
    }
  }
  return image;
}

class CifarReader : public UploadReader {
 public:
  explicit CifarReader(std::unique_ptr<ByteSource> records) : records_(std::move(records)) {}

  absl::StatusOr<std::optional<UploadEntry>> Next() override;

 private:
  const std::unique_ptr<ByteSource> records_;
  int64_t next_ = 0;
};

absl::StatusOr<std::optional<UploadEntry>> CifarReader::Next() {
  ASSIGN_OR_RETURN(const std::string record, ReadString(*records_, kCifarRecordBytes));
  if (record.empty()) return std::nullopt;
  if (record.size() < kCifarRecordBytes) {
    return absl::InvalidArgumentError(absl::StrCat("it ends within record ", next_, ", after ",
                                                   record.size(), " of ", kCifarRecordBytes,
                                                   " bytes"));
  }
  const auto label = static_cast<uint8_t>(record[0]);
  if (label >= kCifarClasses.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("record ", next_, " has label ", label, "; CIFAR-10 has labels 0 to 9"));
  }
  UploadEntry entry;
  entry.folder = kCifarClasses[label];
  entry.file = absl::StrFormat("%05d.png", next_++);
  ASSIGN_OR_RETURN(entry.bytes, EncodeImage(CifarPicture(std::string_view(record).substr(1)),
                                            ImageFormat::kPng));
  return entry;
}

// Two zero bytes, 8 for unsigned bytes, and the number of dimensions.
constexpr uint32_t kPicturesMagic = 0x803;
constexpr uint32_t kLabelsMagic = 0x801;

absl::Status CutShort(std::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("it ends within ", absl::string_view(what.data(), what.size())));
}

// `Count` big-endian 32-bit numbers; nullopt at the end of the source.
template <size_t Count>
absl::StatusOr<std::optional<std::array<uint32_t, Count>>> ReadNumbers(ByteSource& source,
                                                                       std::string_view what) {
  std::array<char, 4 * Count> bytes;
  ASSIGN_OR_RETURN(const size_t size, ReadFully(source, bytes));
  if (size == 0) return std::nullopt;
  if (size < bytes.size()) return CutShort(what);
  std::array<uint32_t, Count> numbers = {};
  for (size_t i = 0; i < bytes.size(); ++i) {
    numbers[i / 4] = numbers[i / 4] << 8 | static_cast<uint8_t>(bytes[i]);
  }
  return numbers;
}

absl::Status WrongMagic(std::string_view what, uint32_t expected, uint32_t found) {
  return absl::InvalidArgumentError(absl::StrFormat(
      "the header of the %s begins with 0x%08x, not 0x%08x", std::string(what), found, expected));
}

int LabelDigits(const std::string& labels) {
  uint8_t largest = 0;
  for (char label : labels) largest = std::max(largest, static_cast<uint8_t>(label));
  return static_cast<int>(absl::StrCat(largest).size());
}

class IdxReader : public UploadReader {
 public:
  static absl::StatusOr<std::unique_ptr<IdxReader>> Open(const OpenBytes& open,
                                                         const UploadLimits& limits);

  absl::StatusOr<std::optional<UploadEntry>> Next() override;

 private:
  struct Shape {
    int64_t pictures;
    int height;
    int width;
  };

  IdxReader(std::unique_ptr<ByteSource> source, const Shape& shape, std::string labels);

  static absl::StatusOr<Shape> ReadShape(ByteSource& source, const UploadLimits& limits);
  // What follows the pictures: a label for each, or nothing at all.
  static absl::StatusOr<std::string> ReadLabels(ByteSource& source, int64_t pictures);

  const std::unique_ptr<ByteSource> source_;
  const Shape shape_;
  const std::string labels_;
  const int label_digits_;  // enough for names to sort like labels
  int64_t next_ = 0;
};

absl::StatusOr<std::unique_ptr<IdxReader>> IdxReader::Open(const OpenBytes& open,
                                                           const UploadLimits& limits) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ByteSource> ahead, open());
  ASSIGN_OR_RETURN(const Shape shape, ReadShape(*ahead, limits));
  const int64_t bytes = shape.pictures * shape.height * shape.width;
  ASSIGN_OR_RETURN(const int64_t skipped, Skip(*ahead, bytes));
  if (skipped < bytes) return CutShort("the pictures");
  ASSIGN_OR_RETURN(std::string labels, ReadLabels(*ahead, shape.pictures));
  ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> source, open());
  RETURN_IF_ERROR(ReadShape(*source, limits).status());
  return std::unique_ptr<IdxReader>(new IdxReader(std::move(source), shape, std::move(labels)));
}

IdxReader::IdxReader(std::unique_ptr<ByteSource> source, const Shape& shape, std::string labels)
    : source_(std::move(source)),
      shape_(shape),
      labels_(std::move(labels)),
      label_digits_(LabelDigits(labels_)) {}

// The limits keep the product of all sizes far below 2^63.
absl::StatusOr<IdxReader::Shape> IdxReader::ReadShape(ByteSource& source,
                                                      const UploadLimits& limits) {
  ASSIGN_OR_RETURN(const auto header, (ReadNumbers<4>(source, "the header of the pictures")));
  if (!header) return absl::InvalidArgumentError("it is empty");
  const auto [magic, pictures, height, width] = *header;
  if (magic != kPicturesMagic) return WrongMagic("pictures", kPicturesMagic, magic);
  if (pictures > limits.max_pictures) {
    return absl::InvalidArgumentError(
        absl::StrCat("it has ", pictures, " pictures; at most ", limits.max_pictures, " are read"));
  }
  if (height == 0 || width == 0 || height > limits.max_pixels / width) {
    return absl::InvalidArgumentError(absl::StrCat("its pictures have ", width, " x ", height,
                                                   " pixels; at least 1 and at most ",
                                                   limits.max_pixels, " are read"));
  }
  return Shape{pictures, static_cast<int>(height), static_cast<int>(width)};
}

absl::StatusOr<std::string> IdxReader::ReadLabels(ByteSource& source, int64_t pictures) {
  ASSIGN_OR_RETURN(const auto header, (ReadNumbers<2>(source, "the header of the labels")));
  if (!header) return std::string();
  const auto [magic, count] = *header;
  if (magic != kLabelsMagic) return WrongMagic("labels", kLabelsMagic, magic);
  if (count != pictures) {
    return absl::InvalidArgumentError(
        absl::StrCat("there are ", pictures, " pictures, but ", count, " labels"));
  }
  ASSIGN_OR_RETURN(std::string labels, ReadString(source, static_cast<size_t>(pictures)));
  if (static_cast<int64_t>(labels.size()) < pictures) return CutShort("the labels");
  ASSIGN_OR_RETURN(const int64_t more, Skip(source, 1));
  if (more > 0) return absl::InvalidArgumentError("something follows the labels");
  return labels;
}

absl::StatusOr<std::optional<UploadEntry>> IdxReader::Next() {
  if (next_ == shape_.pictures) return std::nullopt;
  const size_t bytes = size_t{1} * shape_.height * shape_.width;
  ASSIGN_OR_RETURN(const std::string pixels, ReadString(*source_, bytes));
  if (pixels.size() < bytes) return CutShort("the pictures");
  UploadEntry entry;
  if (!labels_.empty()) {
    const auto label = static_cast<uint8_t>(labels_[static_cast<size_t>(next_)]);
    entry.folder = absl::StrFormat("%0*d", label_digits_, label);
  }
  entry.file = absl::StrFormat("%05d.png", next_++);
  const Image picture{shape_.width, shape_.height, 1, {pixels.begin(), pixels.end()}};
  ASSIGN_OR_RETURN(entry.bytes, EncodeImage(picture, ImageFormat::kPng));
  return entry;
}

}  // namespace

std::unique_ptr<UploadReader> MakeCifarReader(std::unique_ptr<ByteSource> records) {
  return std::make_unique<CifarReader>(std::move(records));
}

absl::StatusOr<std::unique_ptr<UploadReader>> OpenIdxReader(const OpenBytes& open,
                                                            const UploadLimits& limits) {
  return IdxReader::Open(open, limits);
}

}  // namespace denoise
