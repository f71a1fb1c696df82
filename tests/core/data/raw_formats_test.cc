#include <gtest/gtest.h>

#include "tests/core/data/upload_testing.h"

namespace denoise {
namespace {

using namespace std::string_literals;
using testing::ElementsAre;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

absl::StatusOr<std::vector<UploadEntry>> ReadCifar(const std::string& bytes) {
  return ReadUpload(UploadFormat::kCifar10, bytes);
}

absl::StatusOr<std::vector<UploadEntry>> ReadMnist(const std::string& bytes,
                                                   const UploadLimits& limits = {}) {
  return ReadUpload(UploadFormat::kMnist, bytes, limits);
}

Image Decoded(const UploadEntry& entry) {
  const auto image = DecodeImage(entry.bytes, kNoLimit);
  EXPECT_TRUE(image.ok()) << image.status();
  return image.ok() ? *image : Image();
}

TEST(Cifar, RecordsBecomePicturesInTheFoldersOfTheirClasses) {
  std::string record = CifarRecord(6, 0);
  record[1] = '\x10';              // red of the first pixel
  record[1 + 1024 + 1] = '\x20';   // green of the second
  record[1 + 2048 + 32] = '\x30';  // blue of the first in the second row
  const auto entries = ReadCifar(CifarRecord(0, 7) + record + CifarRecord(9, 255));
  ASSERT_TRUE(entries.ok()) << entries.status();
  EXPECT_THAT(Names(*entries),
              ElementsAre("airplane/00000.png", "frog/00001.png", "truck/00002.png"));
  const Image frog = Decoded((*entries)[1]);
  ASSERT_EQ(frog.width, 32);
  ASSERT_EQ(frog.height, 32);
  ASSERT_EQ(frog.channels, 3);
  EXPECT_EQ(frog.pixels[0], 0x10);
  EXPECT_EQ(frog.pixels[3 + 1], 0x20);
  EXPECT_EQ(frog.pixels[3 * 32 + 2], 0x30);
  EXPECT_EQ(std::count(frog.pixels.begin(), frog.pixels.end(), 0), 3069);
}

TEST(Cifar, APartialRecordIsRefused) {
  const std::string records = CifarRecord(1, 1) + CifarRecord(2, 2);
  for (size_t size : {size_t{1}, size_t{3072}}) {
    ExpectStatus(ReadCifar(records.substr(0, 3073 + size)).status(), kInvalid,
                 "ends within record 1, after");
  }
}

TEST(Cifar, ALabelAboveNineIsRefused) {
  ExpectStatus(ReadCifar(CifarRecord(9, 1) + CifarRecord(10, 2)).status(), kInvalid,
               "record 1 has label 10");
  ExpectStatus(ReadCifar(CifarRecord(255, 1)).status(), kInvalid, "record 0 has label 255");
}

TEST(Mnist, PicturesComeWithTheLabelsThatFollowThem) {
  const auto entries =
      ReadMnist(IdxPictures(3, 2, 3, "abcdefghijklmnopqr") + IdxLabels(3, "\7\0\7"s));
  ASSERT_TRUE(entries.ok()) << entries.status();
  EXPECT_THAT(Names(*entries), ElementsAre("7/00000.png", "0/00001.png", "7/00002.png"));
  const Image second = Decoded((*entries)[1]);
  EXPECT_EQ(second, (Image{3, 2, 1, {'g', 'h', 'i', 'j', 'k', 'l'}}));
}

TEST(Mnist, PicturesWithoutLabelsHaveNoClasses) {
  const auto entries = ReadMnist(IdxPictures(2, 1, 1, "ab"));
  ASSERT_TRUE(entries.ok()) << entries.status();
  EXPECT_THAT(Names(*entries), ElementsAre("00000.png", "00001.png"));
}

TEST(Mnist, NamesOfManyClassesSortAsTheirLabelsDo) {
  const auto entries = ReadMnist(IdxPictures(2, 1, 1, "ab") + IdxLabels(2, "\2\x3d"));
  ASSERT_TRUE(entries.ok()) << entries.status();
  EXPECT_THAT(Names(*entries), ElementsAre("02/00000.png", "61/00001.png"));
}

TEST(Mnist, HeadersAreChecked) {
  const UploadLimits limits = {.max_pictures = 5, .max_pixels = 12};
  const auto expect_refused = [&](const std::string& bytes, const std::string& message) {
    ExpectStatus(ReadMnist(bytes, limits).status(), kInvalid, message);
  };
  expect_refused("", "it is empty");
  expect_refused(IdxLabels(1, "\1"), "ends within the header of the pictures");
  expect_refused(BigEndian(0x801) + std::string(12, '\1'), "0x00000801, not 0x00000803");
  expect_refused(BigEndian(0xd03) + std::string(12, '\1'), "the header of the pictures begins");
  expect_refused(IdxPictures(6, 1, 1, "abcdef"), "it has 6 pictures; at most 5");
  expect_refused(IdxPictures(0xffffffff, 0xffffffff, 0xffffffff, ""), "4294967295 pictures");
  expect_refused(IdxPictures(1, 13, 1, ""), "1 x 13 pixels");
  expect_refused(IdxPictures(1, 0x10000, 0x10000, ""), "65536 x 65536 pixels");
  expect_refused(IdxPictures(1, 0, 5, ""), "5 x 0 pixels");
  expect_refused(IdxPictures(2, 2, 2, "abcdefg"), "ends within the pictures");
  const std::string pictures = IdxPictures(2, 1, 2, "abcd");
  expect_refused(pictures + "\0\0\x08"s, "ends within the header of the labels");
  expect_refused(pictures + BigEndian(0x803) + BigEndian(2) + "ab",
                 "the header of the labels begins");
  expect_refused(pictures + IdxLabels(3, "abc"), "there are 2 pictures, but 3 labels");
  expect_refused(pictures + IdxLabels(2, "a"), "ends within the labels");
  expect_refused(pictures + IdxLabels(2, "abc"), "something follows the labels");
  EXPECT_TRUE(ReadMnist(pictures + IdxLabels(2, "ab"), limits).ok());
}

}  // namespace
}  // namespace denoise
