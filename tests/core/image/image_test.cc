#include "core/image/image.h"

#include <cmath>
#include <limits>

#include "absl/strings/str_replace.h"
#include "tests/core/image/image_testing.h"

namespace denoise {
namespace {

using testing::ElementsAre;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(ImageFromSample, MapsMinusOneToOneOntoBytesAndClampsBeyond) {
  const std::vector<float> sample = {-1, 1, -1.5, 1.5, -0.5, 0.5, 1e30f, -1e30f};
  EXPECT_THAT(ImageFromSample(sample, 1, 2, 4).pixels,
              ElementsAre(0, 255, 0, 255, 64, 191, 255, 0));
}

TEST(ImageFromSample, RoundsHalfToEvenAsNumpyDoes) {
  // x / 2 + 0.5, times 255, is exactly 127.5, 128.5, 253.5 and 254.5 in float32.
  const std::vector<float> sample = {0, 0x1.0101p-7f, 0x1.f9f9f8p-1f, 0x1.fdfdfcp-1f};
  EXPECT_THAT(ImageFromSample(sample, 1, 1, 4).pixels, ElementsAre(128, 128, 254, 254));
}

TEST(ImageFromSample, NanIsZeroAndInfinityIsClamped) {
  const std::vector<float> sample = {kNan, -kNan, kInfinity, -kInfinity};
  EXPECT_THAT(ImageFromSample(sample, 1, 2, 2).pixels, ElementsAre(0, 0, 255, 0));
}

TEST(ImageFromSample, InterleavesPlanes) {
  const std::vector<float> sample = {-1, 1, 1, 1, 1, -1};  // 3 planes of 1 x 2
  const Image image = ImageFromSample(sample, 3, 1, 2);
  EXPECT_EQ(image, (Image{2, 1, 3, {0, 255, 255, 255, 255, 0}}));
}

TEST(EncodeImage, RefusesInvalidImages) {
  const Image cases[] = {
      {},
      {0, 3, 3, {}},
      {-1, -1, 1, {7}},
      {1, 1, 0, {}},
      {1, 1, 5, {1, 2, 3, 4, 5}},
      {2, 2, 3, {1, 2, 3}},                 // too few pixels
      {1, 1, 1, {1, 2}},                    // too many
      {1 << 30, 1 << 30, 4, {1, 2, 3, 4}},  // the product does not fit 32 bits
  };
  for (const Image& image : cases) {
    for (ImageFormat format : {ImageFormat::kPng, ImageFormat::kJpeg, ImageFormat::kWebp}) {
      EXPECT_EQ(EncodeImage(image, format).status().code(), absl::StatusCode::kInvalidArgument);
    }
  }
}

TEST(EncodeImage, GivesTheSameBytesEveryTime) {
  const Image image = TestImage(33, 17, 3);
  for (ImageFormat format : {ImageFormat::kPng, ImageFormat::kJpeg, ImageFormat::kWebp}) {
    EXPECT_EQ(*EncodeImage(image, format), *EncodeImage(image, format));
  }
}

TEST(DecodeImage, RefusesWhatIsNotAPicture) {
  for (const char* bytes :
       {"", "G", "GIF89a", "BM", "\x89PNG", "\xff\xd8", "RIFF", "RIFF1234WAVE"}) {
    ExpectRefused(DecodeImage(bytes, kNoLimit), "neither a PNG, a JPEG nor a WebP");
  }
}

TEST(DecodeImage, SaysWhatLiesInThePlaceOfAPicture) {
  const std::pair<std::string, const char*> files[] = {
      {"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
       "but a Git LFS pointer, not the file itself; run `git lfs pull` where it was cloned"},
      {"\n<!DOCTYPE html>\n<html><body>404</body></html>",
       "but an HTML page, such as an error or a log-in page; copy or download it again"},
      {"<?xml version=\"1.0\"?>\n<svg/>", "but an SVG; convert it to one"},
      {"<?xml version=\"1.0\"?><Error/>", "but an XML document, such as an error of a file store"},
  };
  for (const auto& [bytes, words] : files) ExpectRefused(DecodeImage(bytes, kNoLimit), words);
}

// As `git` with core.autocrlf, FTP in text mode and text editors do it.
TEST(DecodeImage, RecognisesAPngThatWasCopiedAsText) {
  const std::string png = *EncodeImage(TestImage(5, 3, 3), ImageFormat::kPng);
  const std::pair<const char*, const char*> changes[] = {
      {"\r\n", "\n"}, {"\n", "\r\n"}, {"\x89", "\xc2\x89"}, {"\x89", "\xef\xbf\xbd"}};
  for (const auto& [from, to] : changes) {
    ExpectRefused(
        DecodeImage(absl::StrReplaceAll(png, {{from, to}}), kNoLimit),
        "but a PNG that was damaged when it was copied as text; copy or download it again "
        "as binary");
  }
}

TEST(DecodeImage, TheLimitOnPixelsIsInclusive) {
  for (ImageFormat format : {ImageFormat::kPng, ImageFormat::kJpeg, ImageFormat::kWebp}) {
    const std::string bytes = *EncodeImage(TestImage(6, 5, 3), format);
    EXPECT_TRUE(DecodeImage(bytes, 30).ok());
    ExpectRefused(DecodeImage(bytes, 29), "6 x 5 pixels; at most 29");
    ExpectRefused(DecodeImage(bytes, 0), "at most 0");
    ExpectRefused(DecodeImage(bytes, -5), "at most -5");
  }
}

}  // namespace
}  // namespace denoise
