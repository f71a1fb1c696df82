#include <gif_lib.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "tests/core/image/image_testing.h"

namespace denoise {
namespace {

struct Gif {
  std::vector<int> milliseconds;
  std::vector<Image> frames;
  bool loops_forever = false;
};

int Take(GifFileType* gif, GifByteType* data, int size) {
  auto* const rest = static_cast<std::string_view*>(gif->UserData);
  const size_t taken = std::min(rest->size(), static_cast<size_t>(size));
  std::memcpy(data, rest->data(), taken);
  rest->remove_prefix(taken);
  return static_cast<int>(taken);
}

Image FrameOf(const GifFileType& gif, const SavedImage& saved) {
  Image image{saved.ImageDesc.Width, saved.ImageDesc.Height, 3, {}};
  for (int i = 0; i < image.width * image.height; ++i) {
    const GifColorType& color = gif.SColorMap->Colors[saved.RasterBits[i]];
    image.pixels.insert(image.pixels.end(), {color.Red, color.Green, color.Blue});
  }
  return image;
}

Gif Decode(const std::string& bytes) {
  std::string_view rest = bytes;
  int error = 0;
  const std::unique_ptr<GifFileType, void (*)(GifFileType*)> file(
      DGifOpen(&rest, Take, &error), [](GifFileType* gif) { DGifCloseFile(gif, nullptr); });
  Gif gif;
  if (file == nullptr || DGifSlurp(file.get()) != GIF_OK) return gif;
  for (int i = 0; i < file->ImageCount; ++i) {
    GraphicsControlBlock control;
    EXPECT_EQ(DGifSavedExtensionToGCB(file.get(), i, &control), GIF_OK);
    gif.milliseconds.push_back(control.DelayTime * 10);
    gif.frames.push_back(FrameOf(*file, file->SavedImages[i]));
  }
  gif.loops_forever = bytes.find(std::string("NETSCAPE2.0\3\1\0\0\0", 16)) != std::string::npos;
  return gif;
}

Gif Encode(const std::vector<Image>& frames, int milliseconds = 100) {
  const auto bytes = EncodeAnimation(frames, milliseconds, AnimationFormat::kGif);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  return Decode(bytes.value_or(""));
}

// Every color of a cube of `side` values a channel.
Image ColorCube(int side) {
  Image image{side * side, side, 3, {}};
  for (int i = 0; i < side * side * side; ++i) {
    for (const int value : {i % side, i / side % side, i / side / side}) {
      image.pixels.push_back(static_cast<uint8_t>(value * 255 / (side - 1)));
    }
  }
  return image;
}

TEST(Gif, FewColorsSurviveExactly) {
  const std::vector<Image> frames = {ColorCube(6), Image{36, 6, 3, std::vector<uint8_t>(648, 7)}};
  const Gif gif = Encode(frames);
  EXPECT_TRUE(gif.loops_forever);
  EXPECT_EQ(gif.frames, frames);
}

TEST(Gif, ManyColorsComeBackNearly) {
  const Image cube = ColorCube(24);
  const Gif gif = Encode({cube});
  ASSERT_EQ(gif.frames.size(), 1u);
  double squared = 0;
  int largest = 0;
  for (size_t i = 0; i < cube.pixels.size(); ++i) {
    const int difference = std::abs(cube.pixels[i] - gif.frames[0].pixels[i]);
    largest = std::max(largest, difference);
    squared += difference * difference;
  }
  // 256 colors laid evenly over the cube are 40 apart, and off by 12 on average.
  EXPECT_LT(std::sqrt(squared / cube.pixels.size()), 16);
  EXPECT_LT(largest, 64);
}

TEST(Gif, EveryGrayIsExactAndAlphaIsDropped) {
  Image gray{256, 1, 2, {}}, color{256, 1, 3, {}};
  for (int value = 0; value < 256; ++value) {
    gray.pixels.insert(gray.pixels.end(), {static_cast<uint8_t>(value), 99});
    color.pixels.insert(color.pixels.end(), 3, static_cast<uint8_t>(value));
  }
  EXPECT_EQ(Encode({gray}).frames, std::vector<Image>{color});
}

TEST(Gif, TimeIsInHundredthsAndRepeatsAreOnePictureShownLonger) {
  const Image a = ColorCube(2), b = ColorCube(3);
  const Image c{4, 2, 3, std::vector<uint8_t>(24, 9)};
  EXPECT_THAT(Encode({a, c, c, c, a}, 54).milliseconds, testing::ElementsAre(50, 150, 50));
  EXPECT_THAT(Encode({b}, 1).milliseconds, testing::ElementsAre(20));
}

TEST(Gif, OnePixelIsAPicture) {
  const Image pixel{1, 1, 3, {1, 2, 3}};
  EXPECT_EQ(Encode({pixel}).frames, std::vector<Image>{pixel});
}

}  // namespace
}  // namespace denoise
