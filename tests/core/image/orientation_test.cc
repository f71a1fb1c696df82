// Pictures are upright however the camera was held, in every format that says so.
#include <gtest/gtest.h>
#include <zlib.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "core/image/exif.h"
#include "tests/core/image/image_testing.h"

namespace denoise {
namespace {

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.is_open()) << path;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string Number(uint32_t number, int bytes, bool big_endian) {
  std::string text;
  for (int i = 0; i < bytes; ++i) {
    const int shift = 8 * (big_endian ? bytes - 1 - i : i);
    text += static_cast<char>(number >> shift);
  }
  return text;
}

// A TIFF structure with the tag, as a number of 2 or 4 bytes, among others.
std::string Tiff(int orientation, bool big_endian, int value_bytes = 2) {
  const auto n = [&](uint32_t number, int bytes) { return Number(number, bytes, big_endian); };
  const auto entry = [&](uint32_t tag, uint32_t value, int bytes = 2) {
    return n(tag, 2) + n(bytes == 2 ? 3 : 4, 2) + n(1, 4) + n(value, bytes) + n(0, 4 - bytes);
  };
  return std::string(big_endian ? "MM" : "II") + n(42, 2) + n(8, 4) + n(3, 2) + entry(0x0100, 7) +
         entry(0x0112, static_cast<uint32_t>(orientation), value_bytes) + entry(0x0213, 1) +
         n(0, 4);
}

const std::string kExif("Exif\0\0", 6);

std::string Segment(char marker, const std::string& content) {
  return std::string("\xff") + marker + Number(static_cast<uint32_t>(content.size()) + 2, 2, true) +
         content;
}

std::string InJpeg(const std::string& jpeg, const std::string& tiff) {
  return jpeg.substr(0, 2) + Segment('\xe1', "http://ns.adobe.com/xap/1.0/ and so on") + "\xff" +
         Segment('\xe1', kExif + tiff) + jpeg.substr(2);
}

std::string Chunk(const std::string& type, const std::string& content) {
  const std::string text = type + content;
  const auto crc = crc32_z(0, reinterpret_cast<const Bytef*>(text.data()), text.size());
  return Number(static_cast<uint32_t>(content.size()), 4, true) + text +
         Number(static_cast<uint32_t>(crc), 4, true);
}

std::string InPngBeforePixels(const std::string& png, const std::string& tiff) {
  constexpr size_t kHeaderEnd = 33;
  return png.substr(0, kHeaderEnd) + Chunk("eXIf", tiff) + png.substr(kHeaderEnd);
}

std::string InPngAfterPixels(const std::string& png, const std::string& tiff) {
  const size_t end = png.size() - 12;
  return png.substr(0, end) + Chunk("eXIf", tiff) + png.substr(end);
}

// Behind the pixels, in the extended format; some programs write JPEG's header there.
std::string InWebp(const std::string& webp, const std::string& exif, int width, int height) {
  const auto chunk = [](const std::string& type, const std::string& content) {
    return type + Number(static_cast<uint32_t>(content.size()), 4, false) + content +
           std::string(content.size() % 2, '\0');
  };
  const std::string extended = Number(0x08, 4, false) +
                               Number(static_cast<uint32_t>(width) - 1, 3, false) +
                               Number(static_cast<uint32_t>(height) - 1, 3, false);
  const std::string content =
      "WEBP" + chunk("VP8X", extended) + webp.substr(12) + chunk("EXIF", exif);
  return "RIFF" + Number(static_cast<uint32_t>(content.size()), 4, false) + content;
}

// What a viewer shows of `stored`, by the definition: where row 0 and column 0 of it are seen.
Image Seen(const Image& stored, int orientation) {
  const bool swapped = orientation >= 5;
  Image seen{swapped ? stored.height : stored.width, swapped ? stored.width : stored.height,
             stored.channels, std::vector<uint8_t>(stored.pixels.size())};
  const int right = seen.width - 1, bottom = seen.height - 1;
  for (int row = 0; row < stored.height; ++row) {
    for (int column = 0; column < stored.width; ++column) {
      int x = 0, y = 0;
      switch (orientation) {
        case 1:
          x = column, y = row;
          break;  // top, left
        case 2:
          x = right - column, y = row;
          break;  // top, right
        case 3:
          x = right - column, y = bottom - row;
          break;  // bottom, right
        case 4:
          x = column, y = bottom - row;
          break;  // bottom, left
        case 5:
          x = row, y = column;
          break;  // left, top
        case 6:
          x = right - row, y = column;
          break;  // right, top
        case 7:
          x = right - row, y = bottom - column;
          break;  // right, bottom
        case 8:
          x = row, y = bottom - column;
          break;  // left, bottom
        default:
          ADD_FAILURE() << orientation;
      }
      for (int c = 0; c < stored.channels; ++c) {
        seen.pixels[(size_t{1} * y * seen.width + x) * stored.channels + c] =
            stored.pixels[(size_t{1} * row * stored.width + column) * stored.channels + c];
      }
    }
  }
  return seen;
}

TEST(Orientation, PicturesOfEveryFormatAreUpright) {
  constexpr int kWidth = 7, kHeight = 5;
  const Image image = TestImage(kWidth, kHeight, 3);
  const std::string png = *EncodeImage(image, ImageFormat::kPng);
  const std::string jpeg = *EncodeImage(image, ImageFormat::kJpeg);
  const std::string webp = *EncodeImage(image, ImageFormat::kWebp);
  for (int orientation = 1; orientation <= 8; ++orientation) {
    for (const bool big_endian : {false, true}) {
      const std::string tiff = Tiff(orientation, big_endian);
      struct {
        const char* name;
        std::string bytes;
        std::string plain;
      } files[] = {{"JPEG", InJpeg(jpeg, tiff), jpeg},
                   {"PNG, before the pixels", InPngBeforePixels(png, tiff), png},
                   {"PNG, after the pixels", InPngAfterPixels(png, tiff), png},
                   {"WebP", InWebp(webp, tiff, kWidth, kHeight), webp},
                   {"WebP with JPEG's header", InWebp(webp, kExif + tiff, kWidth, kHeight), webp}};
      for (const auto& file : files) {
        SCOPED_TRACE(testing::Message() << file.name << ", " << orientation);
        const auto decoded = DecodeImage(file.bytes, kNoLimit);
        ASSERT_TRUE(decoded.ok()) << decoded.status();
        EXPECT_EQ(*decoded, Seen(*DecodeImage(file.plain, kNoLimit), orientation));
      }
    }
  }
}

TEST(Orientation, GrayAndTransparentPicturesAreUprightToo) {
  for (int channels = 1; channels <= 4; ++channels) {
    const Image image = TestImage(3, 2, channels);
    EXPECT_EQ(Upright(image, 6), Seen(image, 6)) << channels;
  }
}

TEST(Orientation, StrayBytesBeforeTheExifDataDoNotHideIt) {
  const std::string jpeg = *EncodeImage(TestImage(7, 5, 3), ImageFormat::kJpeg);
  const std::string exif = Segment('\xe1', kExif + Tiff(6, /*big_endian=*/true));
  constexpr size_t kJfifEnd = 20;  // the first segment, by which files are recognised
  const auto decoded =
      DecodeImage(jpeg.substr(0, kJfifEnd) + "stray" + exif + jpeg.substr(kJfifEnd), kNoLimit);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(*decoded, Seen(*DecodeImage(jpeg, kNoLimit), 6));
}

TEST(Orientation, MayBeStoredInFourBytes) {
  const std::string jpeg = *EncodeImage(TestImage(7, 5, 3), ImageFormat::kJpeg);
  for (const bool big_endian : {false, true}) {
    const auto decoded = DecodeImage(InJpeg(jpeg, Tiff(8, big_endian, 4)), kNoLimit);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    EXPECT_EQ(*decoded, Seen(*DecodeImage(jpeg, kNoLimit), 8));
  }
}

// The same arrow, as it is and as a phone that is held upright stores it.
TEST(Orientation, APhonesPictureIsWhatItsOwnerSaw) {
  const auto phone = DecodeImage(ReadFile("tests/data/pictures/orientation-6.jpg"), kNoLimit);
  const auto upright = DecodeImage(ReadFile("tests/data/pictures/upright.png"), kNoLimit);
  ASSERT_TRUE(phone.ok() && upright.ok()) << phone.status() << upright.status();
  ASSERT_EQ(phone->pixels.size(), upright->pixels.size());
  int64_t difference = 0;
  for (size_t i = 0; i < phone->pixels.size(); ++i) {
    difference += std::abs(phone->pixels[i] - upright->pixels[i]);
  }
  EXPECT_LT(static_cast<double>(difference) / static_cast<double>(phone->pixels.size()), 4);
}

TEST(Orientation, MalformedExifDataIsIgnored) {
  const Image image = TestImage(7, 5, 3);
  const std::string jpeg = *EncodeImage(image, ImageFormat::kJpeg);
  const Image plain = *DecodeImage(jpeg, kNoLimit);
  const std::string tiff = Tiff(6, /*big_endian=*/true);
  std::vector<std::string> malformed = {
      Tiff(0, true),        Tiff(9, true), Tiff(65535, false), Tiff(0x10006, false, 4), "",
      "XX" + tiff.substr(2)};
  std::string far_directory = tiff;
  far_directory.replace(4, 4, "\xff\xff\xff\xff");
  malformed.push_back(far_directory);
  std::string two_values = tiff;
  two_values[8 + 2 + 12 + 7] = 2;
  malformed.push_back(two_values);
  for (size_t size = 0; size < 8 + 2 + 2 * 12; ++size) malformed.push_back(tiff.substr(0, size));
  for (const std::string& exif : malformed) {
    const auto decoded = DecodeImage(InJpeg(jpeg, exif), kNoLimit);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    EXPECT_EQ(*decoded, plain);
  }
}

TEST(Orientation, DamagedFilesAreAnswered) {
  const std::string png = *EncodeImage(TestImage(4, 3, 3), ImageFormat::kPng);
  ExpectEveryDamagedByteIsAnswered(InPngBeforePixels(png, Tiff(6, true)), 1000);
  const std::string jpeg = *EncodeImage(TestImage(4, 3, 3), ImageFormat::kJpeg);
  ExpectEveryDamagedByteIsAnswered(InJpeg(jpeg, Tiff(6, false)), 1000);
}

}  // namespace
}  // namespace denoise
