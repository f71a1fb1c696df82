// Pictures for the tests of the codecs, and what every codec must withstand.
#pragma once

#include <gmock/gmock.h>

#include <cstdint>
#include <limits>
#include <string>

#include "core/image/image.h"

namespace denoise {

inline constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

// Every pixel and channel differs from its neighbours.
inline Image TestImage(int width, int height, int channels) {
  Image image{width, height, channels, {}};
  for (int i = 0; i < width * height * channels; ++i) {
    image.pixels.push_back(static_cast<uint8_t>(i * 37 + i / 7 * 11));
  }
  return image;
}

inline void ExpectRefused(const absl::StatusOr<Image>& image, const std::string& part_of_message) {
  EXPECT_EQ(image.status().code(), absl::StatusCode::kInvalidArgument) << image.status();
  EXPECT_THAT(std::string(image.status().message()), testing::HasSubstr(part_of_message));
}

inline void ExpectEveryTruncationIsRefused(const std::string& bytes) {
  ASSERT_TRUE(DecodeImage(bytes, kNoLimit).ok());
  for (size_t size = 0; size < bytes.size(); ++size) {
    const std::string cut =
        bytes.substr(0, size);  // its own allocation: sanitizers see reads beyond it
    EXPECT_EQ(DecodeImage(cut, kNoLimit).status().code(), absl::StatusCode::kInvalidArgument)
        << "cut to " << size << " of " << bytes.size() << " bytes";
  }
}

// A damaged file is refused or gives some picture within the limit, as not every format has
// checksums.
inline void ExpectEveryDamagedByteIsAnswered(const std::string& bytes, int64_t max_pixels) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (int mask : {0x01, 0x80, 0xff}) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ mask);
      const absl::StatusOr<Image> image = DecodeImage(damaged, max_pixels);
      if (!image.ok()) continue;
      EXPECT_LE(int64_t{image->width} * image->height, max_pixels);
      EXPECT_EQ(image->pixels.size(), size_t{1} * image->width * image->height * image->channels);
    }
  }
}

}  // namespace denoise
