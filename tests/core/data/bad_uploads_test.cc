// Every row of "What is refused, and how" of docs/datasets.md, and nothing else.
#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "core/data/ingest.h"
#include "tests/core/data/upload_testing.h"
#include "tests/core/data/zip_testing.h"
#include "tests/support/gzip.h"

namespace denoise {
namespace {

using namespace std::string_literals;
using testing::HasSubstr;

// As the page has them.
static_assert(UploadLimits().max_unpacked_bytes == int64_t{64} << 30);
static_assert(UploadLimits().max_file_bytes == 64 << 20);
static_assert(UploadLimits().max_pixels == 16 << 20);

// A PNG whose header says that it has that many pixels.
std::string PictureBomb(uint32_t width, uint32_t height) {
  std::string png = Png(1);
  const std::string header = "IHDR" + BigEndian(width) + BigEndian(height) + png.substr(24, 5);
  const auto crc = crc32_z(0, reinterpret_cast<const Bytef*>(header.data()), header.size());
  return png.substr(0, 12) + header + BigEndian(static_cast<uint32_t>(crc)) + png.substr(33);
}

std::string Damaged(std::string bytes) {
  bytes[bytes.size() - 6] ^= 1;  // of gzip's checksum
  return bytes;
}

// A frame header of zstd that asks for a window of 2^31 bytes.
const std::string kGreedyZstd("\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00", 9);

const std::string kGood = TarFile("cats/good.png", Png(1));

// An archive of a good picture and of `members`.
std::string Tar(const std::string& members) { return kGood + members + kTarEnd; }

// A zip archive of the good picture and of `member`.
std::string ZipOf(const ZipMember& member) {
  return Zip({{.name = "cats/good.png", .data = Png(1)}, member});
}

struct BadUpload {
  const char* what;  // the first column
  UploadFormat format;
  std::string bytes;
  UploadLimits limits = {};
};

const std::vector<BadUpload>& BadUploads() {
  constexpr auto kTar = UploadFormat::kTar;
  constexpr auto kCifar = UploadFormat::kCifar10;
  constexpr auto kMnist = UploadFormat::kMnist;
  static const std::vector<BadUpload> uploads = {
      {"A folder of a class all of whose files are broken; the message says what is wrong with the "
       "first",
       kTar, Tar(TarFile("dogs/a.png", "broken") + TarFile("emus/a.png", Png(2)))},
      {"Pictures in a folder and in folders below it", kTar, Tar(TarFile("a.png", Png(2)))},
      {"No file at all", kTar, kTarEnd},
      {"No file that is a picture", kTar,
       TarFile("a.txt", "text") + TarFile("b.txt", "text") + kTarEnd},
      {"Gzip, xz or zstd data that is damaged", kTar, Damaged(Gzip(Tar("")))},
      {"Gzip, xz or zstd data that is cut short", kTar, Gzip(Tar("")).substr(0, 100)},
      {"More behind the packed data", kTar, Gzip(Tar("")) + "garbage garbage"},
      {"A compression bomb",
       kTar,
       Gzip(std::string(2 << 20, '\0')),
       {.max_unpacked_bytes = 1 << 20}},
      {"A stream that needs more memory than its tool's highest level", kTar, kGreedyZstd},

      {"A picture that is broken or cut short", kTar,
       Tar(TarFile("cats/b.png", Png(2).substr(0, 60)))},
      {"A file that is no picture; where it is known, the message says what it is", kTar,
       Tar(TarFile("cats/b.png", "GIF89a"))},
      {"A Git LFS pointer in the place of a picture", kTar,
       Tar(TarFile("cats/b.png", ReadFile("tests/data/models/lfs-pointer.safetensors")))},
      {"A web page that was saved as a picture", kTar,
       Tar(TarFile("cats/b.png", "<!DOCTYPE html>\n<html></html>"))},
      {"A PNG that was copied as text, so that its line ends changed", kTar,
       Tar(TarFile("cats/b.png", absl::StrReplaceAll(Png(2), {{"\r\n", "\n"}})))},
      {"A CMYK JPEG", kTar,
       Tar(TarFile("cats/b.jpg", ReadFile("tests/data/fuzz/decode_image/jpeg-cmyk")))},
      {"An empty file", kTar, Tar(TarFile("cats/b.png", ""))},
      {"A file of more than 64 MiB",
       kTar,
       Tar(TarFile("cats/b.png", std::string(9999, '\0'))),
       {.max_file_bytes = 9998}},
      {"A picture bomb: more pixels than `--max-picture-pixels` (16 Mi), by its header", kTar,
       Tar(TarFile("cats/b.png", PictureBomb(100'000, 100'000)))},
      {"A symbolic or hard link", kTar, Tar(TarHeaderOf('2', "cats/b.png"))},
      {"A device or a pipe", kTar, Tar(TarHeaderOf('3', "cats/b.png"))},
      {"A sparse file", kTar, Tar(TarHeaderOf('S', "cats/b.png"))},
      {"A name that is not UTF-8, which is shown escaped", kTar,
       Tar(TarFile("cats/\xe9.png", Png(2)))},
      {"A name with control characters, which is shown escaped", kTar,
       Tar(TarFile("cats/\x1b[2J.png", Png(2)))},
      {"A name of more than 1024 bytes", kTar,
       Tar(TarFile("cats/" + std::string(1020, 'n'), Png(2)))},
      {"A name that climbs out of the archive (`../1.png`)", kTar,
       Tar(TarFile("../1.png", Png(2)))},
      {"An absolute name (`/etc/passwd`)", kTar, Tar(TarFile("/etc/passwd", Png(2)))},
      {"Something else than a tar or a zip: a picture, another compression", kTar,
       Png(1) + std::string(600, 'z')},
      {"A zip that is cut short", kTar, "PK\3\4" + std::string(600, 'z')},
      {"Files of a zip that overlap", kTar,
       Zip({{.name = "cats/good.png", .data = Png(1)},
            {.name = "cats/b.png", .data = Png(2), .offset = 0}})},
      {"A file of a zip that is encrypted", kTar,
       ZipOf({.name = "cats/b.png", .data = Png(2), .flags = 1})},
      {"A file of a zip that is packed otherwise than deflated", kTar,
       ZipOf({.name = "cats/b.png", .data = Png(2), .method = 12})},
      {"A file of a zip whose packed data is damaged", kTar,
       ZipOf({.name = "cats/b.png", .data = Png(2), .crc_mask = 1})},
      {"A second file of the same name in a zip", kTar,
       ZipOf({.name = "cats/good.png", .data = Png(2)})},
      {"A name in a zip that climbs out of the archive, or is absolute", kTar,
       ZipOf({.name = "../1.png", .data = Png(2)})},
      {"An archive that is cut short", kTar, kGood + kGood.substr(0, 600)},
      {"A size in a header beyond the archive's end", kTar,
       Tar(TarHeaderOf('0', "cats/b.png", int64_t{1} << 45))},
      {"A size in a header that is no number", kTar,
       Tar(WithField(TarHeaderOf('0', "cats/b.png"), 124, "0000000000x"))},
      {"A header whose checksum is wrong", kTar,
       Tar(TarFile("cats/b.png", Png(2)).replace(5, 1, "x"))},
      {"A second archive behind the first", kTar, Tar("") + Tar("")},

      {"A size that is no multiple of 3073 bytes", kCifar, CifarRecord(1, 1) + "x"},
      {"A label above 9, as anything else has", kCifar, CifarRecord(10, 1)},

      {"Something else than IDX pictures", kMnist, IdxPictures(1, 1, 1, "a").replace(3, 1, "\1")},
      {"Fewer pixels than the header says", kMnist, IdxPictures(2, 2, 2, "abcdefg")},
      {"A picture bomb: more pixels than `--max-picture-pixels` (16 Mi), by the header", kMnist,
       IdxPictures(1, 100'000, 100'000, "a")},
      {"More or fewer labels than pictures, by the header", kMnist,
       IdxPictures(2, 1, 1, "ab") + IdxLabels(3, "abc")},
      {"Fewer labels than the header says", kMnist, IdxPictures(2, 1, 1, "ab") + IdxLabels(2, "a")},
      {"More behind the labels", kMnist, IdxPictures(2, 1, 1, "ab") + IdxLabels(2, "abc")},
  };
  return uploads;
}

struct Answer {
  bool left_out = false;  // else the upload is refused
  std::string words;
};

// What the page says, by the first column.
std::map<std::string, Answer> DocumentedAnswers() {
  std::map<std::string, Answer> answers;
  std::ifstream page("docs/datasets.md");
  for (std::string line; std::getline(page, line);) {
    const std::vector<std::string> cells = absl::StrSplit(line, '|');
    if (cells.size() != 5) continue;
    const auto cell = [&](size_t i) { return std::string(absl::StripAsciiWhitespace(cells[i])); };
    std::string words = cell(3);
    if (!words.starts_with('"')) continue;
    answers[cell(1)] = {cell(2) == "left out", words.substr(1, words.size() - 2)};
  }
  return answers;
}

TEST(BadUploads, AreExactlyTheDocumentedOnes) {
  std::vector<std::string> tested, documented;
  for (const BadUpload& upload : BadUploads()) tested.push_back(upload.what);
  for (const auto& [what, answer] : DocumentedAnswers()) documented.push_back(what);
  std::sort(tested.begin(), tested.end());
  EXPECT_EQ(tested, documented);
}

class BadUploadTest : public testing::TestWithParam<size_t> {};

TEST_P(BadUploadTest, GetsTheDocumentedError) {
  const BadUpload& upload = BadUploads()[GetParam()];
  const auto answers = DocumentedAnswers();
  const auto answer = answers.find(upload.what);
  ASSERT_NE(answer, answers.end()) << upload.what;
  const TempDir folder;
  const Ingestion ingestion =
      IngestDataSet(Upload(upload.bytes), upload.format, folder.path() / "pictures", upload.limits);
  SCOPED_TRACE(upload.what);
  if (!answer->second.left_out) {
    ExpectStatus(ingestion.status, absl::StatusCode::kInvalidArgument, answer->second.words);
    EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
    return;
  }
  ASSERT_TRUE(ingestion.status.ok()) << ingestion.status;
  EXPECT_EQ(ingestion.report.pictures, 1);
  ASSERT_EQ(ingestion.report.unreadable_files, 1);
  EXPECT_THAT(ingestion.report.unreadable_examples[0].reason, HasSubstr(answer->second.words));
  EXPECT_EQ(ingestion.report.unreadable_examples[0].file.find('\x1b'), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(EveryKind, BadUploadTest, testing::Range(size_t{0}, BadUploads().size()),
                         [](const auto& test) {
                           std::string name;
                           for (char c : std::string_view(BadUploads()[test.param].what)) {
                             if (absl::ascii_isalnum(c)) name += c;
                           }
                           return name;
                         });

}  // namespace
}  // namespace denoise
