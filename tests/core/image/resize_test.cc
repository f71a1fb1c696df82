#include <algorithm>

#include "tests/core/image/image_testing.h"

namespace denoise {
namespace {

Image Uniform(int width, int height, const std::vector<uint8_t>& pixel) {
  Image image{width, height, static_cast<int>(pixel.size()), {}};
  for (int i = 0; i < width * height; ++i) {
    for (uint8_t value : pixel) image.pixels.push_back(value);
  }
  return image;
}

TEST(Flatten, GrayIsRepeatedAndColorsBecomeLuma) {
  EXPECT_EQ(Flatten(Uniform(2, 1, {7}), 1), Uniform(2, 1, {7}));
  EXPECT_EQ(Flatten(Uniform(2, 1, {7}), 3), Uniform(2, 1, {7, 7, 7}));
  EXPECT_EQ(Flatten(Uniform(2, 1, {1, 2, 3}), 3), Uniform(2, 1, {1, 2, 3}));
  EXPECT_EQ(Flatten(Uniform(2, 1, {255, 255, 255}), 1), Uniform(2, 1, {255}));
  // 0.299, 0.587, 0.114
  EXPECT_EQ(Flatten(Image{3, 1, 3, {255, 0, 0, 0, 255, 0, 0, 0, 255}}, 1),
            (Image{3, 1, 1, {76, 150, 29}}));
}

TEST(Flatten, AlphaIsBlendedOverWhite) {
  EXPECT_EQ(Flatten(Image{3, 1, 4, {9, 9, 9, 0, 10, 20, 30, 255, 0, 100, 200, 128}}, 3),
            (Image{3, 1, 3, {255, 255, 255, 10, 20, 30, 127, 177, 227}}));
  EXPECT_EQ(Flatten(Image{2, 1, 2, {0, 0, 0, 255}}, 1), (Image{2, 1, 1, {255, 0}}));
}

TEST(Transparency, IsWhereAlphaIsNot) {
  EXPECT_EQ(*Transparency(Image{3, 1, 4, {1, 2, 3, 0, 4, 5, 6, 255, 7, 8, 9, 55}}),
            (Image{3, 1, 1, {255, 0, 200}}));
  EXPECT_EQ(*Transparency(Image{1, 1, 2, {9, 100}}), (Image{1, 1, 1, {155}}));
  for (const std::vector<uint8_t>& opaque : {std::vector<uint8_t>{1}, {1, 2, 3}}) {
    EXPECT_EQ(Transparency(Uniform(2, 1, opaque)).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(Crop, TakesTheRegion) {
  const Image image{3, 2, 2, {0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15}};
  EXPECT_EQ(Crop(image, {.left = 1, .top = 0, .width = 2, .height = 2}),
            (Image{2, 2, 2, {2, 3, 4, 5, 12, 13, 14, 15}}));
  EXPECT_EQ(Crop(image, {.left = 0, .top = 1, .width = 1, .height = 1}),
            (Image{1, 1, 2, {10, 11}}));
}

TEST(FlipHorizontally, TurnsLeftToRightPixelByPixel) {
  const Image image{3, 2, 2, {0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15}};
  EXPECT_EQ(FlipHorizontally(image), (Image{3, 2, 2, {4, 5, 2, 3, 0, 1, 14, 15, 12, 13, 10, 11}}));
  EXPECT_EQ(FlipHorizontally(FlipHorizontally(image)), image);
}

TEST(CropAndResize, APictureOfTheRightSizeIsLeftAlone) {
  const Image image = TestImage(7, 5, 3);
  EXPECT_EQ(*CropAndResize(image, 7, 5), image);
}

TEST(CropAndResize, KeepsTheMiddle) {
  Image wide{6, 2, 1, {1, 1, 2, 2, 3, 3, 1, 1, 2, 2, 3, 3}};
  EXPECT_EQ(*CropAndResize(wide, 2, 2), Uniform(2, 2, {2}));
  EXPECT_EQ(*CropAndResize(wide, 1, 1), Uniform(1, 1, {2}));
  Image high{2, 6, 1, wide.pixels};
  std::sort(high.pixels.begin(), high.pixels.end());
  EXPECT_EQ(*CropAndResize(high, 4, 4), Uniform(4, 4, {2}));
}

TEST(CropAndResize, ShrinkingAveragesWhatItCovers) {
  Image checkers{64, 64, 1, {}};
  for (int y = 0; y < 64; ++y) {
    for (int x = 0; x < 64; ++x) checkers.pixels.push_back((x + y) % 2 == 0 ? 255 : 0);
  }
  const Image gray = *CropAndResize(checkers, 8, 8);
  for (uint8_t pixel : gray.pixels) EXPECT_NEAR(pixel, 128, 1);
}

TEST(CropAndResize, EnlargingGoesEvenlyFromPixelToPixel) {
  const Image ramp = *CropAndResize(Image{2, 2, 1, {0, 200, 0, 200}}, 8, 8);
  for (int x = 1; x < 8; ++x) EXPECT_GE(ramp.pixels[x], ramp.pixels[x - 1]);
  EXPECT_EQ(ramp.pixels[0], 0);
  EXPECT_EQ(ramp.pixels[7], 200);
}

TEST(CropAndResize, TakesPicturesOfAnyProportions) {
  for (auto [width, height] : {std::pair{1, 1}, {65535, 1}, {1, 65535}, {3, 2000}, {20000, 300}}) {
    const Image color = *CropAndResize(Uniform(width, height, {10, 20, 30}), 32, 24);
    EXPECT_EQ(color, Uniform(32, 24, {10, 20, 30})) << width << " x " << height;
  }
}

TEST(SampleFromImage, IsTheInverseOfImageFromSample) {
  Image image{256, 2, 3, {}};
  for (int i = 0; i < 256 * 2 * 3; ++i) image.pixels.push_back(static_cast<uint8_t>(i / 3 + i % 3));
  const std::vector<float> sample = SampleFromImage(image);
  EXPECT_EQ(sample[0], -1);
  EXPECT_EQ(*std::max_element(sample.begin(), sample.end()), 1);
  EXPECT_EQ(ImageFromSample(sample, 3, 2, 256), image);
}

TEST(DecodeSample, DecodesFlattensAndResizes) {
  const std::string png = *EncodeImage(Uniform(40, 20, {255, 255, 255, 255}), ImageFormat::kPng);
  EXPECT_EQ(*DecodeSample(png, kNoLimit, 3, 8, 8), std::vector<float>(3 * 8 * 8, 1.0f));
  EXPECT_EQ(*DecodeSample(png, kNoLimit, 1, 5, 7), std::vector<float>(5 * 7, 1.0f));
  EXPECT_EQ(DecodeSample(png, 799, 3, 8, 8).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(DecodeSample("GIF89a", kNoLimit, 3, 8, 8).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace denoise
