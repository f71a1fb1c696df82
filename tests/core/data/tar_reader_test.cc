#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "tests/core/data/upload_testing.h"
#include "tests/support/subprocess.h"

namespace denoise {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

absl::StatusOr<std::vector<UploadEntry>> ReadTar(const std::string& members,
                                                 const UploadLimits& limits = {}) {
  return ReadUpload(UploadFormat::kTar, members + kTarEnd, limits);
}

void ExpectRefused(const std::string& archive, const std::string& part_of_message) {
  ExpectStatus(ReadUpload(UploadFormat::kTar, archive).status(), kInvalid, part_of_message);
}

// What is said of the file between two good ones.
std::string ProblemOf(const std::string& members, const UploadLimits& limits = {}) {
  const auto entries = ReadTar(TarFile("a.png", "1") + members + TarFile("z.png", "2"), limits);
  if (!entries.ok()) return entries.status().ToString();
  if (entries->size() != 3 || entries->front().name() != "a.png" || entries->back().bytes != "2") {
    return "the neighbours are not whole";
  }
  return (*entries)[1].problem;
}

TEST(TarReader, GivesFilesInOrderWithTheirFoldersAndBytes) {
  const auto entries = ReadTar(TarFile("emoji/food/apple.png", "apple") +
                               TarFile("emoji/food/pear.png", std::string(512, 'p')) +
                               TarFile("emoji/ünïcode/ñ.png", std::string(513, 'n')));
  ASSERT_TRUE(entries.ok()) << entries.status();
  ASSERT_THAT(Names(*entries),
              ElementsAre("emoji/food/apple.png", "emoji/food/pear.png", "emoji/ünïcode/ñ.png"));
  EXPECT_EQ((*entries)[0].folder, "emoji/food");
  EXPECT_EQ((*entries)[0].file, "apple.png");
  EXPECT_EQ((*entries)[0].bytes, "apple");
  EXPECT_EQ((*entries)[1].bytes, std::string(512, 'p'));
  EXPECT_EQ((*entries)[2].bytes, std::string(513, 'n'));
}

TEST(TarReader, NamesAreNormalised) {
  const auto entries =
      ReadTar(TarFile("./a.png", "1") + TarFile("b//c/./d.png", "2") + TarFile("././e/f.png", "3"));
  ASSERT_TRUE(entries.ok()) << entries.status();
  EXPECT_THAT(Names(*entries), ElementsAre("a.png", "b/c/d.png", "e/f.png"));
}

TEST(TarReader, SkipsFoldersAndHiddenFiles) {
  const auto entries = ReadTar(
      TarHeaderOf('5', "./") + TarHeaderOf('5', "cats/") + TarHeaderOf('0', "old/") +
      TarHeaderOf('5', "sized/", 7) + TarFile("cats/._1.png", "resource fork") +
      TarFile("cats/.DS_Store", "x") + TarFile(".git/objects/1.png", "x") + TarFile("a.png", "1"));
  ASSERT_TRUE(entries.ok()) << entries.status();
  EXPECT_THAT(Names(*entries), ElementsAre("a.png"));
}

TEST(TarReader, LinksDevicesAndPipesAreNotPicturesAndHaveNoData) {
  EXPECT_THAT(ProblemOf(TarHeaderOf('2', "link.png")), HasSubstr("a link"));
  EXPECT_THAT(ProblemOf(TarHeaderOf('1', "link.png", 5000)), HasSubstr("a link"));
  for (char type : {'3', '4', '6'}) {
    EXPECT_EQ(ProblemOf(TarHeaderOf(type, "device.png", 5000)), "not a plain file");
  }
  EXPECT_EQ(ProblemOf(TarExtension('Z', "whatever this is")), "not a plain file");
}

TEST(TarReader, AnEmptyOrTooLargeFileIsNotAPicture) {
  EXPECT_EQ(ProblemOf(TarFile("empty.png", "")), "the file is empty");
  const UploadLimits limits = {.max_file_bytes = 999};
  EXPECT_EQ(ProblemOf(TarFile("large.png", std::string(999, 'x')), limits), "");
  EXPECT_THAT(ProblemOf(TarFile("large.png", std::string(1000, 'x')), limits),
              HasSubstr("has 1000 bytes; at most 999"));
}

TEST(TarReader, NamesThatLeadOutRefuseTheUpload) {
  for (const std::string name :
       {"/etc/passwd", "../a.png", "a/../../b.png", "a/..", "a/../b.png"}) {
    ExpectRefused(TarFile("a.png", "1") + TarFile(name, "x") + kTarEnd, name);
    ExpectRefused(TarHeaderOf('5', name) + kTarEnd, "would lead out of the archive's folder");
    ExpectRefused(TarHeaderOf('2', name) + kTarEnd, "would lead out of the archive's folder");
  }
  ExpectRefused(TarFile("../\x1b[2J.png", "x") + kTarEnd, "\"../\\x1b[2J.png\"");
}

TEST(TarReader, ABadNameOnlyAffectsItsFile) {
  EXPECT_EQ(ProblemOf(TarFile("caf\xe9/1.png", "x")), "its name is not UTF-8");
  EXPECT_EQ(ProblemOf(TarFile("a\nb.png", "x")), "its name holds control characters");
  EXPECT_EQ(ProblemOf(TarFile(std::string(1025, 'n'), "x")), "its name has more than 1024 bytes");
  EXPECT_EQ(ProblemOf(TarFile(std::string(1024, 'n'), "x")), "");
  EXPECT_EQ(ProblemOf(TarFile("", "x")), "it has no name");
  const auto entries = ReadTar(TarFile("caf\xe9/1.png", "x"));
  ASSERT_TRUE(entries.ok()) << entries.status();
  EXPECT_EQ(entries->front().name(), "caf\\xe9/1.png");
}

TEST(TarReader, PaxRecordsGiveTheNextFilesNameAndSize) {
  const auto entries =
      ReadTar(TarExtension('g', PaxRecord("path=not this") + PaxRecord("comment=a pack")) +
              TarExtension('x', PaxRecord("path=b/c.png") + "9 size=3\n") +
              TarHeaderOf('0', "short", 0) + Blocks("abc") + TarFile("d.png", "4"));
  ASSERT_TRUE(entries.ok()) << entries.status();
  EXPECT_THAT(Names(*entries), ElementsAre("b/c.png", "d.png"));
  EXPECT_EQ(entries->front().bytes, "abc");
}

TEST(TarReader, MalformedPaxRecordsAreRefused) {
  for (const std::string& records :
       {std::string("x"), std::string(" path=a\n"), std::string("8 path=a\n"),
        std::string("11 path=a\n"), std::string("0 path=a\n"), std::string("-9 path=a\n"),
        std::string("9 path=ab"), std::string("99999999999999999999 path=a\n"), PaxRecord("patha"),
        PaxRecord("size=-1"), PaxRecord("size=1x"), PaxRecord("size="),
        PaxRecord("size=1152921504606846977"), PaxRecord("size=99999999999999999999")}) {
    ExpectRefused(TarExtension('x', records) + TarFile("a.png", "1") + kTarEnd, "is malformed");
  }
}

TEST(TarReader, ReadsLongNamesOfGnuTar) {
  const std::string name = "folder/" + std::string(300, 'n') + ".png";
  const auto entries = ReadTar(TarExtension('K', std::string(400, 'k')) +
                               TarExtension('L', name + std::string(1, '\0')) +
                               TarFile("cut.png", "1") + TarFile("b.png", "2"));
  ASSERT_TRUE(entries.ok()) << entries.status();
  EXPECT_THAT(Names(*entries), ElementsAre(name, "b.png"));
}

TEST(TarReader, HeadersBeforeAFileAreFewAndShort) {
  std::string headers;
  for (int i = 0; i < 16; ++i) headers += TarExtension('L', "a.png");
  EXPECT_TRUE(ReadTar(headers + TarFile("a.png", "1")).ok());
  ExpectRefused(headers + headers + TarFile("a.png", "1") + kTarEnd, "too many headers");
  ExpectRefused(TarHeaderOf('x', "x", int64_t{1} << 40) + kTarEnd, "too long");
  ExpectRefused(TarHeaderOf('L', "x", (1 << 20) + 1) + kTarEnd, "too long");
}

TEST(TarReader, SparseFilesAreLeftOut) {
  // Old GNU tar: a map of which some lies in blocks of its own.
  const std::string header = WithField(TarHeaderOf('S', "s.png", 700), 482, "\1");
  std::string map(512, '\7');
  std::string last_map = map;
  last_map[504] = '\0';
  EXPECT_THAT(ProblemOf(header + map + last_map + Blocks(std::string(700, 'd'))),
              HasSubstr("a sparse file"));
  EXPECT_THAT(ProblemOf(TarExtension('x', PaxRecord("GNU.sparse.major=1") +
                                              PaxRecord("GNU.sparse.name=s.png")) +
                        TarFile("GNUSparseFile.0/s.png", "data")),
              HasSubstr("a sparse file"));
}

TEST(TarReader, SizesOfAllKindsAreRead) {
  const auto entries =
      ReadTar(WithField(TarHeaderOf('0', "octal.png"), 124, std::string("         3\0\0", 12)) +
              Blocks("abc") +
              WithField(TarHeaderOf('0', "binary.png"), 124,
                        std::string("\x80\0\0\0\0\0\0\0\0\0\0\3", 12)) +
              Blocks("def"));
  ASSERT_TRUE(entries.ok()) << entries.status();
  EXPECT_EQ((*entries)[0].bytes, "abc");
  EXPECT_EQ((*entries)[1].bytes, "def");
  for (const std::string& size : {std::string("0000000000x\0", 12),
                                  std::string("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
                                  std::string("\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", 12),
                                  std::string("77777777777-")}) {
    ExpectRefused(WithField(TarHeaderOf('0', "a.png"), 124, size) + kTarEnd,
                  "it is not a tar archive");
    ExpectRefused(TarFile("a.png", "1") + WithField(TarHeaderOf('0', "a.png"), 124, size) + kTarEnd,
                  "the size in a header is malformed");
  }
}

TEST(TarReader, ASizeBeyondTheArchiveCostsNoMemory) {
  const UploadLimits limits = {.max_file_bytes = int64_t{1} << 50};
  const std::string header = TarHeaderOf('0', "a.png", int64_t{1} << 45);
  ExpectStatus(ReadTar(header + "data", limits).status(), kInvalid, "cut short");
}

TEST(TarReader, AWrongChecksumIsRefused) {
  std::string archive = TarFile("a.png", "1") + TarFile("b.png", "2") + kTarEnd;
  archive[1024 + 5] ^= 1;
  ExpectRefused(archive, "the checksum of a header is wrong");
  archive[5] ^= 1;
  ExpectRefused(archive, "it is not a tar archive");
}

TEST(TarReader, AcceptsChecksumsOfSignedBytes) {
  std::string header = MakeTarHeader("ü.png", 0);
  int sum = 8 * ' ';
  for (size_t i = 0; i < header.size(); ++i) {
    if (i < 148 || i >= 156) sum += static_cast<int8_t>(header[i]);
  }
  char digits[8];
  std::snprintf(digits, sizeof(digits), "%06o", static_cast<unsigned>(sum) % (1u << 18));
  header.replace(148, 7, std::string_view(digits, 7));
  EXPECT_TRUE(ReadTar(header).ok());
}

TEST(TarReader, EveryTruncationIsRefused) {
  const std::string archive = TarExtension('L', "long.png") + TarFile("a.png", "1") + kTarEnd;
  const std::string whole =
      archive.substr(0, archive.size() - 512);  // one block of zeros is enough
  ASSERT_TRUE(ReadUpload(UploadFormat::kTar, whole).ok());
  for (size_t size = 0; size < whole.size(); ++size) {
    ExpectRefused(whole.substr(0, size), "cut short");
  }
}

TEST(TarReader, RefusesDataAfterTheEndExceptPadding) {
  const std::string archive = TarFile("a.png", "1") + kTarEnd;
  EXPECT_TRUE(ReadUpload(UploadFormat::kTar, archive + std::string(20 * 512, '\0')).ok());
  ExpectRefused(archive + archive, "something follows the end");
}

TEST(TarReader, RefusesWhatIsNotAnArchive) {
  ExpectRefused(std::string(600, 'x'), "it is not a tar archive");
  ExpectRefused(Png(1) + std::string(512, 'x'), "it is not a tar archive");
}

TEST(TarReader, AMillionEmptyFilesTakeNoMemory) {
  class Repeated : public ByteSource {
   public:
    absl::StatusOr<size_t> Read(std::span<char> buffer) override {
      if (read_ == block_.size()) {
        if (left_ == 0) return 0;
        if (--left_ == 0) block_.assign(512, '\0');
        read_ = 0;
      }
      const size_t size = std::min(buffer.size(), block_.size() - read_);
      std::copy_n(block_.begin() + static_cast<std::ptrdiff_t>(read_), size, buffer.begin());
      read_ += size;
      return size;
    }

   private:
    std::string block_ = MakeTarHeader("a/empty.png", 0);
    size_t read_ = block_.size();  // of the block
    int left_ = 1'000'001;         // blocks
  };
  const OpenBytes open = []() -> absl::StatusOr<std::unique_ptr<ByteSource>> {
    return std::make_unique<Repeated>();
  };
  auto reader = OpenUpload(UploadFormat::kTar, open, {});
  ASSERT_TRUE(reader.ok());
  int64_t files = 0;
  for (;; ++files) {
    const auto entry = (*reader)->Next();
    ASSERT_TRUE(entry.ok()) << entry.status();
    if (!*entry) break;
  }
  EXPECT_EQ(files, 1'000'000);
}

// The formats that GNU tar writes, which every system here has.
class GnuTarTest : public testing::TestWithParam<const char*> {};

TEST_P(GnuTarTest, ItsArchivesAreRead) {
  const TempDir folder;
  const std::string format = GetParam();
  const std::string long_name = std::string(90, 'd') + "/" + std::string(60, 'n') + ".png";
  std::map<std::string, std::string> files = {
      {"cats/1.png", "one"}, {"cats/2.png", std::string(100'000, '2')}, {"dogs/ü.png", "three"}};
  if (format != "v7") files[long_name] = "four";
  for (const auto& [name, bytes] : files) WriteFile(folder.path() / "set" / name, bytes);
  const std::string archive = folder.path() / "set.tar";
  const auto tar = RunProcess(
      {"/bin/tar", "--format=" + format, "-cf", archive, "-C", folder.path() / "set", "."},
      absl::Seconds(20));
  ASSERT_TRUE(tar.ok() && tar->exit_status == kExitedCleanly) << tar->error;
  const auto entries = ReadUpload(UploadFormat::kTar, ReadFile(archive));
  ASSERT_TRUE(entries.ok()) << entries.status();
  std::map<std::string, std::string> read;
  for (const UploadEntry& entry : *entries) {
    EXPECT_THAT(entry.problem, IsEmpty()) << entry.name();
    read[entry.name()] = entry.bytes;
  }
  EXPECT_EQ(read, files);
}

INSTANTIATE_TEST_SUITE_P(EveryFormat, GnuTarTest,
                         testing::Values("v7", "oldgnu", "gnu", "ustar", "posix"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace denoise
