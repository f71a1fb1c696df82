#include <webp/encode.h>

#include "tests/core/image/image_testing.h"

namespace denoise {
namespace {

TEST(Webp, ColorAndAlphaSurviveExactly) {
  for (int channels : {3, 4}) {
    for (auto [width, height] : {std::pair{1, 1}, {7, 5}, {64, 33}, {16383, 1}}) {
      const Image image = TestImage(width, height, channels);
      const auto decoded = DecodeImage(*EncodeImage(image, ImageFormat::kWebp), kNoLimit);
      ASSERT_TRUE(decoded.ok()) << decoded.status();
      EXPECT_EQ(*decoded, image);
    }
  }
}

TEST(Webp, GrayComesBackAsColor) {
  const auto gray = DecodeImage(*EncodeImage({2, 1, 1, {5, 250}}, ImageFormat::kWebp), kNoLimit);
  ASSERT_TRUE(gray.ok()) << gray.status();
  EXPECT_EQ(*gray, (Image{2, 1, 3, {5, 5, 5, 250, 250, 250}}));
  const auto with_alpha =
      DecodeImage(*EncodeImage({1, 1, 2, {5, 99}}, ImageFormat::kWebp), kNoLimit);
  ASSERT_TRUE(with_alpha.ok()) << with_alpha.status();
  EXPECT_EQ(*with_alpha, (Image{1, 1, 4, {5, 5, 5, 99}}));
}

TEST(Webp, RefusesToWriteWhatTheFormatCannotHold) {
  const auto bytes = EncodeImage(TestImage(16384, 1, 1), ImageFormat::kWebp);
  EXPECT_EQ(bytes.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(bytes.status().message()), testing::HasSubstr("at most 16383"));
}

TEST(Webp, LossyPicturesAreRead) {
  const Image image = TestImage(20, 10, 3);
  uint8_t* output = nullptr;
  const size_t size = WebPEncodeRGB(image.pixels.data(), 20, 10, 60, 50, &output);
  const std::string bytes(reinterpret_cast<char*>(output), size);
  WebPFree(output);
  const auto decoded = DecodeImage(bytes, kNoLimit);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->pixels.size(), image.pixels.size());
  ExpectEveryTruncationIsRefused(bytes);
  ExpectEveryDamagedByteIsAnswered(bytes, 10000);
}

TEST(Webp, TruncationsAreRefused) {
  ExpectEveryTruncationIsRefused(*EncodeImage(TestImage(5, 3, 3), ImageFormat::kWebp));
  ExpectEveryTruncationIsRefused(*EncodeImage(TestImage(3, 4, 4), ImageFormat::kWebp));
}

TEST(Webp, DamagedBytesNeverCrash) {
  ExpectEveryDamagedByteIsAnswered(*EncodeImage(TestImage(5, 3, 4), ImageFormat::kWebp), 10000);
}

TEST(Webp, HeadersThatPromiseTooMuchAreRefused) {
  std::string bytes = *EncodeImage(TestImage(5, 3, 3), ImageFormat::kWebp);
  ASSERT_EQ(bytes.substr(12, 4), "VP8L");
  // After the signature byte: 14 bits of width - 1, 14 bits of height - 1.
  bytes.replace(21, 4, "\xff\xff\xff\x0f", 4);
  ExpectRefused(DecodeImage(bytes, 1 << 24), "16384 x 16384 pixels");
}

TEST(Webp, AnimationsAreRefused) {
  const std::vector<Image> frames = {TestImage(4, 4, 3), TestImage(4, 4, 4)};
  ExpectRefused(DecodeImage(*EncodeAnimation(frames, 100, AnimationFormat::kWebp), kNoLimit),
                "animations");
}

}  // namespace
}  // namespace denoise
