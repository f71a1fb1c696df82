#include <webp/demux.h>

#include <algorithm>
#include <memory>

#include "tests/core/image/image_testing.h"

namespace denoise {
namespace {

struct Animation {
  WebPAnimInfo info = {};
  std::vector<int> end_milliseconds;
  std::vector<std::vector<uint8_t>> rgba;
};

Animation Decode(const std::string& bytes) {
  const WebPData data{reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
  const std::unique_ptr<WebPAnimDecoder, void (*)(WebPAnimDecoder*)> decoder(
      WebPAnimDecoderNew(&data, nullptr), WebPAnimDecoderDelete);
  Animation animation;
  if (decoder == nullptr) return animation;
  WebPAnimDecoderGetInfo(decoder.get(), &animation.info);
  while (WebPAnimDecoderHasMoreFrames(decoder.get())) {
    uint8_t* pixels = nullptr;
    int end = 0;
    if (!WebPAnimDecoderGetNext(decoder.get(), &pixels, &end)) break;
    animation.end_milliseconds.push_back(end);
    animation.rgba.emplace_back(
        pixels, pixels + 4 * animation.info.canvas_width * animation.info.canvas_height);
  }
  return animation;
}

Image Inverted(Image image) {
  for (uint8_t& value : image.pixels) value = 255 - value;
  return image;
}

std::vector<uint8_t> WithOpaqueAlpha(const Image& image) {
  std::vector<uint8_t> rgba;
  for (size_t i = 0; i < image.pixels.size(); i += 3) {
    rgba.insert(rgba.end(), &image.pixels[i], &image.pixels[i] + 3);
    rgba.push_back(255);
  }
  return rgba;
}

TEST(EncodeAnimation, LoopsForeverThroughEveryFrameExactly) {
  const std::vector<Image> frames = {TestImage(12, 7, 3), Inverted(TestImage(12, 7, 3)),
                                     TestImage(12, 7, 3)};
  const auto bytes = EncodeAnimation(frames, 80, AnimationFormat::kWebp);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  const Animation animation = Decode(*bytes);
  EXPECT_EQ(animation.info.loop_count, 0u);
  EXPECT_EQ(animation.info.canvas_width, 12u);
  EXPECT_EQ(animation.info.canvas_height, 7u);
  EXPECT_THAT(animation.end_milliseconds, testing::ElementsAre(80, 160, 240));
  ASSERT_EQ(animation.rgba.size(), frames.size());
  for (size_t i = 0; i < frames.size(); ++i)
    EXPECT_EQ(animation.rgba[i], WithOpaqueAlpha(frames[i]));
}

TEST(EncodeAnimation, RefusesWhatIsNotAnAnimation) {
  const std::vector<Image> two_sizes = {TestImage(2, 2, 3), TestImage(2, 3, 3)};
  const std::vector<Image> empty_frame = {Image{}};
  const std::vector<Image> too_large = {TestImage(65536, 1, 3)};
  const std::vector<Image> frame = {TestImage(2, 2, 3)};
  for (const AnimationFormat format : {AnimationFormat::kWebp, AnimationFormat::kGif}) {
    const auto refuse = [&](const std::vector<Image>& frames, int milliseconds) {
      const auto bytes = EncodeAnimation(frames, milliseconds, format);
      EXPECT_EQ(bytes.status().code(), absl::StatusCode::kInvalidArgument) << bytes.status();
    };
    refuse({}, 100);
    refuse(two_sizes, 100);
    refuse(empty_frame, 100);
    refuse(too_large, 100);
    for (const int milliseconds : {0, -1, 1 << 24}) refuse(frame, milliseconds);
  }
}

}  // namespace
}  // namespace denoise
