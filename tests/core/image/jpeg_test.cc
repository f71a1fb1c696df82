// jpeglib.h needs FILE and size_t declared before it.
// clang-format off
#include <cstdio>
#include <jpeglib.h>
// clang-format on

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <vector>

#include "tests/core/image/image_testing.h"

namespace denoise {
namespace {

struct JpegOptions {
  J_COLOR_SPACE color_space = JCS_RGB;
  bool arithmetic = false;
  std::vector<jpeg_scan_info> scans = {};  // progressive where not empty
};

// A picture as libjpeg writes it with other settings than ours.
std::string WriteJpeg(const Image& image, const JpegOptions& options) {
  jpeg_error_mgr errors;
  jpeg_compress_struct codec = {};
  codec.err = jpeg_std_error(&errors);
  jpeg_create_compress(&codec);
  unsigned char* buffer = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&codec, &buffer, &size);
  codec.image_width = image.width;
  codec.image_height = image.height;
  codec.input_components = image.channels;
  codec.in_color_space = options.color_space;
  jpeg_set_defaults(&codec);
  codec.arith_code = options.arithmetic;
  if (!options.scans.empty()) {
    codec.scan_info = options.scans.data();
    codec.num_scans = static_cast<int>(options.scans.size());
  }
  jpeg_start_compress(&codec, TRUE);
  for (int y = 0; y < image.height; ++y) {
    auto* row = const_cast<JSAMPROW>(&image.pixels[size_t{1} * y * image.width * image.channels]);
    jpeg_write_scanlines(&codec, &row, 1);
  }
  jpeg_finish_compress(&codec);
  std::string bytes(reinterpret_cast<char*>(buffer), size);
  jpeg_destroy_compress(&codec);
  std::free(buffer);
  return bytes;
}

// DC first, then every component's AC coefficients in `bands` scans of their own.
std::vector<jpeg_scan_info> ProgressiveScans(int components, int bands) {
  std::vector<jpeg_scan_info> scans = {{components, {0, 1, 2, 3}, 0, 0, 0, 0}};
  for (int c = 0; c < components; ++c) {
    for (int b = 0; b < bands; ++b) {
      scans.push_back({1, {c}, 1 + 63 * b / bands, 63 * (b + 1) / bands, 0, 0});
    }
  }
  return scans;
}

// Colors that change slowly, as JPEG likes them.
Image SmoothImage(int width, int height, int channels) {
  Image image{width, height, channels, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < channels; ++c) {
        image.pixels.push_back(
            static_cast<uint8_t>(128 + 100 * std::sin(0.05 * x * (c + 1) + 0.1 * y)));
      }
    }
  }
  return image;
}

int MaxDifference(const Image& a, const Image& b) {
  int difference = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i) {
    difference = std::max(difference, std::abs(a.pixels[i] - b.pixels[i]));
  }
  return difference;
}

TEST(Jpeg, GrayAndColorComeBackNearly) {
  for (int channels : {1, 3}) {
    for (auto [width, height] : {std::pair{1, 1}, {37, 21}, {65500, 1}}) {
      const Image image = SmoothImage(width, height, channels);
      const auto decoded = DecodeImage(*EncodeImage(image, ImageFormat::kJpeg), kNoLimit);
      ASSERT_TRUE(decoded.ok()) << decoded.status();
      ASSERT_EQ(decoded->channels, channels);
      ASSERT_EQ(decoded->pixels.size(), image.pixels.size());
      EXPECT_LE(MaxDifference(image, *decoded), 10);
    }
  }
}

TEST(Jpeg, ColorIsKeptAtFullResolution) {
  // Red and blue columns by turns: subsampled color would blend them to one.
  Image image{16, 16, 3, {}};
  for (int i = 0; i < 256; ++i) {
    for (int value : {i % 2 == 0 ? 255 : 0, 0, i % 2 == 0 ? 0 : 255}) image.pixels.push_back(value);
  }
  const auto decoded = DecodeImage(*EncodeImage(image, ImageFormat::kJpeg), kNoLimit);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_LE(MaxDifference(image, *decoded), 40);
}

TEST(Jpeg, AlphaIsDropped) {
  const Image gray{1, 1, 2, {200, 3}};
  EXPECT_EQ(*EncodeImage(gray, ImageFormat::kJpeg),
            *EncodeImage({1, 1, 1, {200}}, ImageFormat::kJpeg));
  const Image color{1, 1, 4, {200, 100, 50, 3}};
  EXPECT_EQ(*EncodeImage(color, ImageFormat::kJpeg),
            *EncodeImage({1, 1, 3, {200, 100, 50}}, ImageFormat::kJpeg));
}

TEST(Jpeg, RefusesToWriteWhatTheFormatCannotHold) {
  const auto bytes = EncodeImage(TestImage(65535, 1, 1), ImageFormat::kJpeg);
  EXPECT_EQ(bytes.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(bytes.status().message()), testing::HasSubstr("at most 65500"));
}

TEST(Jpeg, ProgressivePicturesAreReadUpToAReasonableNumberOfScans) {
  const Image image = SmoothImage(24, 16, 3);
  const auto decoded = DecodeImage(WriteJpeg(image, {.scans = ProgressiveScans(3, 4)}), kNoLimit);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->pixels.size(), image.pixels.size());
  ExpectRefused(DecodeImage(WriteJpeg(image, {.scans = ProgressiveScans(3, 63)}), kNoLimit),
                "too many scans");
}

// `bytes` with `more` in front of the last marker.
std::string BeforeTheEnd(const std::string& bytes, const std::string& more) {
  return bytes.substr(0, bytes.size() - 2) + more + bytes.substr(bytes.size() - 2);
}

// What is odd about these files is not in their pixels, which are those of the file without it.
TEST(Jpeg, WhatEveryViewerIgnoresIsIgnored) {
  const std::string plain = *EncodeImage(SmoothImage(24, 16, 3), ImageFormat::kJpeg);
  std::string scan_parameters = plain;
  const size_t scan = plain.find("\xff\xda");
  scan_parameters[scan + 4 + 1 + 2 * 3 + 1] = 0;  // the last coefficient: 0 instead of 63
  std::string revision = plain;
  revision[plain.find("JFIF") + 5] = 9;
  const std::string colour_profile =
      plain.substr(0, 2) + std::string("\xff\xe2\0\x12ICC_PROFILE\0\x07\x02", 20) + plain.substr(2);
  struct {
    const char* name;
    std::string bytes;
  } files[] = {{"the parameters of its scan", scan_parameters},
               {"bytes before its last marker", BeforeTheEnd(plain, std::string("\0\0\0", 3))},
               {"the revision of its header", revision},
               {"its colour profile", colour_profile},
               {"bytes behind its end", plain + "something else"}};
  const Image expected = *DecodeImage(plain, kNoLimit);
  for (const auto& file : files) {
    SCOPED_TRACE(file.name);
    const auto decoded = DecodeImage(file.bytes, kNoLimit);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    EXPECT_EQ(*decoded, expected);
  }
}

TEST(Jpeg, APictureWithOddScanParametersIsRead) {
  std::ifstream file("tests/data/pictures/scan-parameters.jpg", std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const auto decoded = DecodeImage(bytes, kNoLimit);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->width, 64);
}

TEST(Jpeg, OtherKindsAreRefused) {
  ExpectRefused(DecodeImage(WriteJpeg(SmoothImage(9, 9, 4), {.color_space = JCS_CMYK}), kNoLimit),
                "CMYK");
  ExpectRefused(DecodeImage(WriteJpeg(SmoothImage(9, 9, 3), {.arithmetic = true}), kNoLimit),
                "arithmetic");
}

TEST(Jpeg, TruncationsAreRefused) {
  ExpectEveryTruncationIsRefused(*EncodeImage(TestImage(9, 5, 3), ImageFormat::kJpeg));
  ExpectEveryTruncationIsRefused(WriteJpeg(TestImage(9, 5, 3), {.scans = ProgressiveScans(3, 2)}));
}

TEST(Jpeg, DamagedBytesNeverCrash) {
  ExpectEveryDamagedByteIsAnswered(*EncodeImage(TestImage(9, 5, 3), ImageFormat::kJpeg), 10000);
  ExpectEveryDamagedByteIsAnswered(WriteJpeg(TestImage(9, 5, 3), {.scans = ProgressiveScans(3, 2)}),
                                   10000);
}

TEST(Jpeg, HeadersThatPromiseTooMuchAreRefused) {
  std::string bytes = *EncodeImage(TestImage(9, 5, 3), ImageFormat::kJpeg);
  const size_t frame = bytes.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  bytes.replace(frame + 5, 4, "\x20\x00\x20\x00", 4);  // 8192 x 8192
  ExpectRefused(DecodeImage(bytes, 1 << 26), "too short for the size");
  bytes.replace(frame + 5, 4, "\xff\x00\xff\x00", 4);
  ExpectRefused(DecodeImage(bytes, 1 << 26), "at most 67108864");
}

}  // namespace
}  // namespace denoise
