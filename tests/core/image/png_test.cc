#include <zlib.h>

#include "tests/core/image/image_testing.h"

namespace denoise {
namespace {

constexpr int kGray = 0, kRgb = 2, kPalette = 3;

std::string BigEndian(uint32_t value) {
  std::string bytes;
  for (int shift : {24, 16, 8, 0}) bytes += static_cast<char>(value >> shift);
  return bytes;
}

std::string Chunk(const std::string& type, const std::string& data) {
  const std::string body = type + data;
  const auto crc = crc32(0, reinterpret_cast<const Bytef*>(body.data()), body.size());
  return BigEndian(data.size()) + body + BigEndian(crc);
}

std::string Deflate(const std::string& bytes) {
  std::string result(compressBound(bytes.size()), '\0');
  uLongf size = result.size();
  compress(reinterpret_cast<Bytef*>(result.data()), &size,
           reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
  return result.substr(0, size);
}

std::string Header(uint32_t width, uint32_t height, int depth, int color, bool interlaced = false) {
  std::string data = BigEndian(width) + BigEndian(height);
  for (int byte : {depth, color, 0, 0, int{interlaced}}) data += static_cast<char>(byte);
  return Chunk("IHDR", data);
}

// A file of the given chunks; `rows` are filtered rows, each led by its filter byte.
std::string Png(const std::string& chunks, const std::string& rows) {
  return "\x89PNG\r\n\x1a\n" + chunks + Chunk("IDAT", Deflate(rows)) + Chunk("IEND", "");
}

std::string Bytes(std::initializer_list<int> values) {
  std::string bytes;
  for (int value : values) bytes += static_cast<char>(value);
  return bytes;
}

TEST(Png, EveryChannelCountSurvivesExactly) {
  for (int channels = 1; channels <= 4; ++channels) {
    for (auto [width, height] : {std::pair{1, 1}, {7, 5}, {64, 33}, {65535, 1}, {1, 65535}}) {
      const Image image = TestImage(width, height, channels);
      const auto decoded = DecodeImage(*EncodeImage(image, ImageFormat::kPng), kNoLimit);
      ASSERT_TRUE(decoded.ok()) << decoded.status();
      EXPECT_EQ(*decoded, image);
    }
  }
}

TEST(Png, SixteenBitsAreScaledToEight) {
  const std::string rows = Bytes({0, 0x00, 0x00, 0x80, 0x80, 0xff, 0xff, 0x12, 0xf0});
  const auto image = DecodeImage(Png(Header(4, 1, 16, kGray), rows), kNoLimit);
  ASSERT_TRUE(image.ok()) << image.status();
  // 0x12f0 / 65535 * 255 = 18.87: rounded, not cut.
  EXPECT_EQ(*image, (Image{4, 1, 1, {0, 128, 255, 19}}));
}

TEST(Png, FewerBitsAreExpanded) {
  const auto image = DecodeImage(Png(Header(4, 1, 2, kGray), Bytes({0, 0b00011011})), kNoLimit);
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(*image, (Image{4, 1, 1, {0, 85, 170, 255}}));
}

TEST(Png, PalettesBecomeColors) {
  const std::string palette = Chunk("PLTE", Bytes({1, 2, 3, 4, 5, 6}));
  const std::string rows = Bytes({0, 0b10000000});
  const auto image = DecodeImage(Png(Header(2, 1, 1, kPalette) + palette, rows), kNoLimit);
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(*image, (Image{2, 1, 3, {4, 5, 6, 1, 2, 3}}));

  const std::string transparency = Chunk("tRNS", Bytes({77}));
  const auto with_alpha =
      DecodeImage(Png(Header(2, 1, 1, kPalette) + palette + transparency, rows), kNoLimit);
  ASSERT_TRUE(with_alpha.ok()) << with_alpha.status();
  EXPECT_EQ(*with_alpha, (Image{2, 1, 4, {4, 5, 6, 255, 1, 2, 3, 77}}));
}

TEST(Png, InterlacedPicturesAreRead) {
  // 2 x 2 in Adam7: pass 1 holds (0,0), pass 6 (1,0), pass 7 the second row.
  const std::string rows = Bytes({0, 10, 0, 20, 0, 30, 40});
  const auto image = DecodeImage(Png(Header(2, 2, 8, kGray, true), rows), kNoLimit);
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(*image, (Image{2, 2, 1, {10, 20, 30, 40}}));
}

TEST(Png, AncillaryChunksAreSkippedUnread) {
  const std::string bomb =
      Chunk("zTXt", "key" + std::string(2, '\0') + Deflate(std::string(100'000'000, 'x')));
  const auto image = DecodeImage(Png(Header(1, 1, 8, kGray) + bomb, Bytes({0, 9})), kNoLimit);
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(*image, (Image{1, 1, 1, {9}}));
}

TEST(Png, TruncationsAreRefused) {
  ExpectEveryTruncationIsRefused(*EncodeImage(TestImage(5, 3, 3), ImageFormat::kPng));
  ExpectEveryTruncationIsRefused(*EncodeImage(TestImage(3, 4, 4), ImageFormat::kPng));
  ExpectEveryTruncationIsRefused(
      Png(Header(2, 2, 8, kGray, true), Bytes({0, 10, 0, 20, 0, 30, 40})));
}

TEST(Png, DamagedBytesNeverCrash) {
  ExpectEveryDamagedByteIsAnswered(*EncodeImage(TestImage(5, 3, 3), ImageFormat::kPng), 1000);
}

TEST(Png, HeadersThatPromiseTooMuchAreRefused) {
  const std::string rows = Bytes({0, 9});
  ExpectRefused(DecodeImage(Png(Header(65535, 65535, 8, kRgb), rows), 1 << 26), "at most 67108864");
  ExpectRefused(DecodeImage(Png(Header(8192, 8192, 8, kRgb), rows), 1 << 26),
                "too short for the size");
  ExpectRefused(DecodeImage(Png(Header(0x7fffffff, 0x7fffffff, 16, kRgb), rows), kNoLimit), "PNG:");
  ExpectRefused(DecodeImage(Png(Header(0x80000000, 1, 8, kGray), rows), kNoLimit), "PNG:");
  ExpectRefused(DecodeImage(Png(Header(0, 1, 8, kGray), rows), kNoLimit), "PNG:");
}

TEST(Png, MalformedPicturesAreRefused) {
  const std::string header = Header(1, 2, 8, kGray);
  ExpectRefused(DecodeImage(Png("", Bytes({0, 9})), kNoLimit), "PNG:");  // no header
  ExpectRefused(DecodeImage(Png(Header(1, 1, 7, kGray), Bytes({0, 9})), kNoLimit),
                "PNG:");  // 7 bits
  ExpectRefused(DecodeImage(Png(Header(1, 1, 8, 5), Bytes({0, 9})), kNoLimit),
                "PNG:");  // no such kind
  ExpectRefused(DecodeImage(Png(Header(1, 1, 8, kPalette), Bytes({0, 9})), kNoLimit),
                "PNG:");                                                           // none
  ExpectRefused(DecodeImage(Png(header, Bytes({0, 9})), kNoLimit), "PNG:");        // one row of two
  ExpectRefused(DecodeImage(Png(header, Bytes({9, 9, 9, 9})), kNoLimit), "PNG:");  // no such filter
}

}  // namespace
}  // namespace denoise
