// Zip archives are read as tar archives are, and hostile ones cost little.
#include "core/data/zip_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/data/ingest.h"
#include "tests/core/data/upload_testing.h"
#include "tests/core/data/zip_testing.h"

namespace denoise {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

absl::StatusOr<std::vector<UploadEntry>> ReadZip(const std::string& bytes,
                                                 const UploadLimits& limits = {}) {
  return ReadUpload(UploadFormat::kTar, bytes, limits);
}

const ZipMember kCat = {.name = "cats/1.png", .data = "a cat"};
const ZipMember kDog = {.name = "dogs/1.png", .data = "a dog"};

void ExpectBoth(const std::string& bytes) {
  const auto entries = ReadZip(bytes);
  ASSERT_TRUE(entries.ok()) << entries.status();
  ASSERT_THAT(Names(*entries), ElementsAre("cats/1.png", "dogs/1.png"));
  EXPECT_EQ((*entries)[0].bytes, "a cat");
  EXPECT_EQ((*entries)[1].bytes, "a dog");
}

TEST(ZipReader, ReadsWhateverProgramsWrite) {
  const auto with = [](auto change) {
    ZipMember cat = kCat, dog = kDog;
    change(cat);
    change(dog);
    return std::vector<ZipMember>{cat, dog};
  };
  ExpectBoth(Zip({kCat, kDog}));
  ExpectBoth(Zip(with([](ZipMember& m) { m.method = 0; })));
  ExpectBoth(Zip(with([](ZipMember& m) { m.descriptor = true; })));
  ExpectBoth(Zip(with([](ZipMember& m) { m.method = 0, m.descriptor = true; })));
  ExpectBoth(Zip(with([](ZipMember& m) { m.zip64 = true; }), "", /*zip64_end=*/true));
  ExpectBoth(Zip(with([](ZipMember& m) { m.attributes = 0100644; })));
  ExpectBoth(Zip({kCat, kDog}, "a comment"));
  ExpectBoth(Zip({kCat, kDog}, std::string(65535, 'c')));
  // What ends a comment may look like an end.
  ExpectBoth(Zip({kCat, kDog}, "PK\5\6 and more than twenty bytes"));
  ExpectBoth(Zip({{.name = "cats/", .data = "", .method = 0},
                  kCat,
                  {.name = "cats/.hidden", .data = "x"},
                  {.name = "__MACOSX/cats/._1.png", .data = "x"},
                  kDog}));
}

TEST(ZipReader, TheSeparatorsOfWindowsSeparate) {
  ExpectBoth(
      Zip({{.name = "cats\\1.png", .data = "a cat"}, {.name = "dogs\\1.png", .data = "a dog"}}));
}

TEST(ZipReader, AFileThatIsWrongIsLeftOutAlone) {
  const std::string large(1000, 'x');
  const std::string unicode("\1", 1);
  struct {
    ZipMember member;
    const char* problem;
  } cases[] = {
      {{.name = "cats/2.png", .data = "x", .flags = 1}, "it is encrypted"},
      {{.name = "cats/2.png", .data = "x", .method = 12}, "packed by method 12"},
      {{.name = "cats/2.png", .data = "x", .method = 99, .flags = 1}, "it is encrypted"},
      {{.name = "cats/2.png", .data = ""}, "the file is empty"},
      {{.name = "cats/2.png", .data = large + "y"}, "the file has 1001 bytes; at most 1000"},
      {{.name = "cats/2.png", .data = "x", .attributes = 0120777}, "a link, which is not followed"},
      {{.name = "cats/2.png", .data = "x", .crc_mask = 1}, "its packed data is damaged"},
      {{.name = "cats/2.png", .data = "x", .method = 0, .crc_mask = 1}, "data is damaged"},
      {{.name = "cats/2.png", .data = large, .claimed_bytes = 999}, "data is damaged"},
      {{.name = "cats/2.png", .data = "x", .claimed_bytes = 999}, "data is damaged"},
      {{.name = "cats/2.png", .data = "xy", .method = 0, .claimed_bytes = 1}, "data is damaged"},
      {{.name = "../2.png", .data = "x"}, "would lead out of the archive's folder"},
      {{.name = "/etc/2.png", .data = "x"}, "would lead out of the archive's folder"},
      {{.name = "cats/../../2.png", .data = "x"}, "would lead out of the archive's folder"},
      {{.name = "..\\2.png", .data = "x"}, "would lead out of the archive's folder"},
      {{.name = "cats/1.png", .data = "x"}, "another file of this name"},
      {{.name = "cats/\xe9.png", .data = "x", .flags = 1 << 11}, "its name is not UTF-8"},
      {{.name = "cats/\n.png", .data = "x"}, "its name holds control characters"},
      {{.name = "", .data = "x"}, "it has no name"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.member.name + ": " + c.problem);
    const auto entries = ReadZip(Zip({kCat, c.member, kDog}), {.max_file_bytes = 1000});
    ASSERT_TRUE(entries.ok()) << entries.status();
    ASSERT_THAT(*entries, SizeIs(3));
    EXPECT_THAT((*entries)[1].problem, HasSubstr(c.problem));
    EXPECT_EQ((*entries)[1].bytes, "");
    EXPECT_EQ((*entries)[0].bytes, "a cat");
    EXPECT_EQ((*entries)[2].bytes, "a dog");
  }
}

// Info-ZIP's extra field gives names their characters.
TEST(ZipReader, AUnicodePathCounts) {
  const std::string name = "caf\xe9/1.png", path = "café/1.png";
  const auto crc = crc32_z(0, reinterpret_cast<const Bytef*>(name.data()), name.size());
  const std::string extra = LittleEndian(0x7075, 2) + LittleEndian(5 + path.size(), 2) + "\1" +
                            LittleEndian(crc, 4) + path;
  const auto entries = ReadZip(Zip({{.name = name, .data = "x", .extra = extra}}));
  ASSERT_TRUE(entries.ok()) << entries.status();
  EXPECT_EQ(entries->front().name(), path);
  EXPECT_EQ(entries->front().problem, "");
}

// As programs for DOS and Windows write names. Others write UTF-8 without saying so.
TEST(ZipReader, NamesAreInCodePage437WhereTheyAreNotUtf8) {
  const std::pair<std::string, std::string> names[] = {
      {"caf\x82/1.png", "café/1.png"},
      {"\x8e\x99\x9a/\xe1\xdb\xff.png", "ÄÖÜ/ß█\u00a0.png"},
      {"café/1.png", "café/1.png"},
  };
  for (const auto& [written, read] : names) {
    const auto entries = ReadZip(Zip({{.name = written, .data = "x"}}));
    ASSERT_TRUE(entries.ok()) << entries.status();
    EXPECT_EQ(entries->front().name(), read);
    EXPECT_EQ(entries->front().problem, "");
  }
}

void ExpectRefusedZip(const std::string& bytes, const std::string& words,
                      const UploadLimits& limits = {}) {
  ExpectStatus(ReadZip(bytes, limits).status(), absl::StatusCode::kInvalidArgument, words);
}

TEST(ZipReader, ArchivesThatAreWrongAsAWholeAreRefused) {
  const std::string zip = Zip({kCat, kDog});
  ExpectRefusedZip(zip.substr(0, zip.size() - 1), "cut short");
  ExpectRefusedZip(zip.substr(0, 40), "cut short");
  ExpectRefusedZip(zip + "more", "cut short");
  ZipMember same_place = kDog;
  same_place.offset = 0;
  ExpectRefusedZip(Zip({kCat, same_place}), "overlap");
  ZipMember beyond = kDog;
  beyond.offset = 1 << 20;
  ExpectRefusedZip(Zip({kCat, beyond}), "cut short");
  ZipMember between = kDog;
  between.offset = 60;
  ExpectRefusedZip(Zip({kCat, between}), "not where its list says");
  ExpectRefusedZip(Zip({{.name = "a.png", .data = std::string(600, 'x')},
                        {.name = "b.png", .data = std::string(600, 'y')}}),
                   "unpacks to more than", {.max_unpacked_bytes = 1000});
  EXPECT_THAT(*ReadZip(Zip({})), IsEmpty());
}

TEST(ZipReader, EveryTruncationAndEveryDamagedByteIsAnswered) {
  const std::string zip = Zip({kCat, {.name = "dogs/1.png", .data = "a dog", .zip64 = true}}, "c",
                              /*zip64_end=*/true);
  for (size_t size = 4; size < zip.size(); ++size) {
    EXPECT_TRUE(absl::IsInvalidArgument(ReadZip(zip.substr(0, size)).status())) << size;
  }
  for (size_t i = 4; i < zip.size(); ++i) {
    for (const int mask : {0x01, 0x80, 0xff}) {
      std::string damaged = zip;
      damaged[i] = static_cast<char>(damaged[i] ^ mask);
      const auto entries = ReadZip(damaged, {.max_file_bytes = 1000});
      EXPECT_TRUE(entries.ok() || absl::IsInvalidArgument(entries.status())) << i;
    }
  }
}

TEST(ZipReader, AFileFromAnotherProgramBecomesADataSet) {
  const TempDir folder;
  const Ingestion ingestion =
      IngestDataSet([] { return OpenFileSource("tests/data/uploads/pets.zip"); },
                    UploadFormat::kTar, folder.path() / "stored");
  ASSERT_TRUE(ingestion.status.ok()) << ingestion.status;
  ASSERT_THAT(ingestion.report.classes, SizeIs(2));
  EXPECT_EQ(ingestion.report.classes[0].name, "birds");
  EXPECT_EQ(ingestion.report.classes[1].name, "cats");
}

}  // namespace
}  // namespace denoise
