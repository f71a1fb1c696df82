#include "core/data/ingest.h"

#include <gtest/gtest.h>

#include <random>

#include "absl/strings/str_cat.h"
#include "core/data/stored_data_set.h"
#include "tests/core/data/upload_testing.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

class IngestTest : public testing::Test {
 protected:
  Ingestion Ingest(const std::string& members, const UploadLimits& limits = {}) {
    return IngestDataSet(Upload(members + kTarEnd), UploadFormat::kTar, path_, limits);
  }

  // Classes and labels of an upload, as "name=label" of each picture.
  std::vector<std::string> Labels() {
    const auto data_set = OpenDataSet(path_);
    EXPECT_TRUE(data_set.ok()) << data_set.status();
    std::vector<std::string> labels;
    for (int64_t i = 0; data_set.ok() && i < (*data_set)->size(); ++i) {
      labels.push_back(absl::StrCat((*data_set)->name(i), "=", (*data_set)->label(i)));
    }
    return labels;
  }

  // On the disk, as far as it has come.
  int64_t UnfinishedBytes() const {
    std::error_code error;
    const auto size = fs::file_size(path_.string() + ".unfinished", error);
    return error ? 0 : static_cast<int64_t>(size);
  }

  // Whether all pictures have been written, and what is written can be opened.
  bool IsFinished() const { return OpenDataSet(path_.string() + ".unfinished").ok(); }

  void ExpectRefused(const Ingestion& ingestion, const std::string& part_of_message) {
    ExpectStatus(ingestion.status, kInvalid, part_of_message);
    EXPECT_TRUE(fs::is_empty(folder_.path()));
  }

  TempDir folder_;
  const fs::path path_ = folder_.path() / "pictures";
};

// A PNG of `side` x `side` pixels that no compression makes smaller.
std::string Noise(unsigned seed, int side) {
  std::mt19937 random(seed);
  Image image{side, side, 3, std::vector<uint8_t>(size_t{3} * side * side)};
  for (uint8_t& value : image.pixels) value = static_cast<uint8_t>(random());
  return *EncodeImage(image, ImageFormat::kPng);
}

std::vector<std::string> ClassNames(const DataSetReport& report) {
  std::vector<std::string> names;
  for (const auto& c : report.classes) names.push_back(c.name);
  return names;
}

TEST_F(IngestTest, FoldersAreClassesSortedByName) {
  const Ingestion ingestion =
      Ingest(TarFile("set/dogs/1.png", Png(1)) + TarFile("set/ants/2.png", Png(2)) +
             TarFile("set/cats/3.png", Png(3)) + TarFile("set/dogs/4.png", Png(4)));
  ASSERT_TRUE(ingestion.status.ok()) << ingestion.status;
  EXPECT_THAT(Labels(), ElementsAre("set/dogs/1.png=2", "set/ants/2.png=0", "set/cats/3.png=1",
                                    "set/dogs/4.png=2"));
  EXPECT_THAT(ingestion.report.classes,
              ElementsAre(DataSetReport::Class{"ants", 1}, DataSetReport::Class{"cats", 1},
                          DataSetReport::Class{"dogs", 2}));
  EXPECT_EQ(ingestion.report.ClassImbalance(), 2);
}

TEST_F(IngestTest, FoldersWithOneNameAreOneClass) {
  const Ingestion ingestion =
      Ingest(TarFile("train/cats/1.png", Png(1)) + TarFile("train/dogs/2.png", Png(2)) +
             TarFile("test/dogs/3.png", Png(3)));
  ASSERT_TRUE(ingestion.status.ok()) << ingestion.status;
  EXPECT_THAT(Labels(),
              ElementsAre("train/cats/1.png=0", "train/dogs/2.png=1", "test/dogs/3.png=1"));
}

TEST_F(IngestTest, PicturesInOneFolderOrInNoneHaveNoClasses) {
  for (const std::string folder : {"", "set/", "set/pictures/"}) {
    const Ingestion ingestion =
        Ingest(TarFile(folder + "1.png", Png(1)) + TarFile(folder + "2.png", Png(2)));
    ASSERT_TRUE(ingestion.status.ok()) << ingestion.status;
    EXPECT_THAT(ingestion.report.classes, IsEmpty());
    EXPECT_EQ(ingestion.report.ClassImbalance(), 0);
    EXPECT_THAT(Labels(), ElementsAre(folder + "1.png=0", folder + "2.png=0"));
    fs::remove(path_);
  }
}

TEST_F(IngestTest, PicturesBesideFoldersOfPicturesAreRefused) {
  ExpectRefused(Ingest(TarFile("1.png", Png(1)) + TarFile("cats/2.png", Png(2))),
                "pictures in no folder and in the folder \"cats\"");
  ExpectRefused(Ingest(TarFile("set/cats/kittens/1.png", Png(1)) +
                       TarFile("set/cats/2.png", Png(2)) + TarFile("set/dogs/2.png", Png(2))),
                "in the folder \"set/cats\" and in the folder \"set/cats/kittens\" below it");
}

TEST_F(IngestTest, AFolderWithoutReadablePictureIsRefused) {
  ExpectRefused(Ingest(TarFile("ants/1.png", Png(1)) + TarFile("bees/2.png", "broken") +
                       TarFile("cats/3.png", Png(3))),
                "the folder \"bees\" holds no readable picture");
  ExpectRefused(Ingest(TarFile("ants/1.png", Png(1)) + TarHeaderOf('2', "bees/2.png") +
                       TarFile("cats/3.png", Png(3))),
                "the folder \"bees\" holds no readable picture");
}

struct EmptyClassCase {
  const char* what;
  std::string members;
  std::string words;
};

std::string Repeated(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

// Whatever is left beside it: another class, two, or pictures in folders of which two are one
// class.
TEST_F(IngestTest, AClassWithoutPicturesIsRefusedWithTheFirstReason) {
  const std::string cat = TarFile("cats/1.png", Png(1)), bird = TarFile("birds/1.png", Png(2));
  const std::string broken = TarFile("dogs/broken.png", "broken");
  const char* const first =
      "\"dogs\" holds no readable picture (the first file, \"broken.png\": neither a PNG";
  const EmptyClassCase cases[] = {
      {"one class is left", cat + broken, first},
      {"two classes are left", bird + cat + broken, first},
      {"in a folder around everything",
       TarFile("set/cats/1.png", Png(1)) + TarFile("set/dogs/broken.png", "broken"),
       "\"set/dogs\" holds no readable picture"},
      {"a GIF", cat + TarFile("dogs/0.gif", "GIF87a and more"), "but a GIF; convert it to one)"},
      {"an empty file", cat + TarFile("dogs/0.png", ""), "the file is empty"},
      {"a name", cat + TarFile("dogs/\xe9.png", Png(2)), "its name is not UTF-8"},
      {"a folder's name", cat + TarFile("d\xf6gs/1.png", Png(2)),
       "the folder \"d\\xf6gs\" holds no readable picture (the first file, \"1.png\": its name is "
       "not UTF-8)"},
      {"a long name", cat + TarFile("x" + Repeated("ö", 60) + "/1.gif", "GIF89a"),
       "the folder \"x" + Repeated("ö", 49) + "\"... holds no readable picture"},
      {"several folders", cat + broken + TarFile("emus/1.png", Png(2).substr(0, 50)),
       "; the folder \"emus\" holds no readable picture (the first file, \"1.png\": PNG: "},
  };
  for (const EmptyClassCase& c : cases) {
    SCOPED_TRACE(c.what);
    ExpectRefused(Ingest(c.members), c.words);
  }
}

TEST_F(IngestTest, APictureWithTooManyPixelsIsTheReason) {
  const Ingestion ingestion = IngestDataSet(
      Upload(TarFile("cats/1.png", Png(1)) + TarFile("dogs/1.png", Png(2, 100, 100)) + kTarEnd),
      UploadFormat::kTar, path_, {.max_pixels = 9999});
  ExpectRefused(ingestion, "the picture has 100 x 100 pixels; at most 9999 are allowed");
}

TEST_F(IngestTest, AnEmptyFolderIsNoClass) {
  const Ingestion ingestion = Ingest(TarHeaderOf('5', "ants/") + TarFile("ants/1.png", Png(1)) +
                                     TarHeaderOf('5', "bees/") + TarFile("cats/2.png", Png(2)));
  ASSERT_TRUE(ingestion.status.ok()) << ingestion.status;
  EXPECT_THAT(ClassNames(ingestion.report), ElementsAre("ants", "cats"));
  EXPECT_EQ(ingestion.report.unreadable_files, 0);
}

TEST_F(IngestTest, EntriesWithOneNameAreTwoPictures) {
  const Ingestion ingestion =
      Ingest(TarFile("1.png", Noise(1, 32)) + TarFile("1.png", Noise(1, 32)) +
             TarFile("2.png", Noise(2, 32)));
  ASSERT_TRUE(ingestion.status.ok()) << ingestion.status;
  EXPECT_THAT(Labels(), ElementsAre("1.png=0", "1.png=0", "2.png=0"));
  EXPECT_EQ(ingestion.report.near_duplicates, 2);
}

TEST_F(IngestTest, FoldersOfNotesAreNoClasses) {
  const Ingestion ingestion =
      Ingest(TarFile("license.txt", "text") + TarFile("set/readme.txt", "text") +
             TarFile("set/cats/1.png", Png(1)) + TarFile("set/dogs/2.png", Png(2)) +
             TarFile("set/dogs/notes/breeds.txt", "text") + TarFile("other/dogs/list.txt", "text"));
  ASSERT_TRUE(ingestion.status.ok()) << ingestion.status;
  EXPECT_THAT(ClassNames(ingestion.report), ElementsAre("cats", "dogs"));
  EXPECT_EQ(ingestion.report.unreadable_files, 4);
}

TEST_F(IngestTest, SkipsAndReportsAnUnreadablePicture) {
  std::string members;
  for (int i = 0; i < 100; ++i) {
    members += TarFile(absl::StrCat("set/", i, ".png"), i == 57 ? Png(i).substr(0, 60) : Png(i));
  }
  const Ingestion ingestion = Ingest(members);
  ASSERT_TRUE(ingestion.status.ok()) << ingestion.status;
  EXPECT_EQ(ingestion.report.pictures, 99);
  EXPECT_EQ(ingestion.report.unreadable_files, 1);
  ASSERT_EQ(ingestion.report.unreadable_examples.size(), 1u);
  EXPECT_EQ(ingestion.report.unreadable_examples[0].file, "set/57.png");
  EXPECT_THAT(ingestion.report.unreadable_examples[0].reason, HasSubstr("PNG"));
}

TEST_F(IngestTest, OfManyUnreadableFilesTheFirstAreNamed) {
  std::string members = TarFile("1.png", Png(1));
  for (int i = 0; i < 1000; ++i) members += TarFile(absl::StrCat("no", i, ".txt"), "text");
  const Ingestion ingestion = Ingest(members);
  ASSERT_TRUE(ingestion.status.ok()) << ingestion.status;
  EXPECT_EQ(ingestion.report.unreadable_files, 1000);
  ASSERT_EQ(ingestion.report.unreadable_examples.size(), DataSetReport::kMaxExamples);
  EXPECT_EQ(ingestion.report.unreadable_examples.back().file, "no19.txt");
}

TEST_F(IngestTest, AnUploadWithoutPicturesIsRefusedAndReported) {
  ExpectRefused(Ingest(""), "there is no picture in it");
  const Ingestion ingestion = Ingest(TarFile("a.txt", "text") + TarFile("b.txt", "text"));
  ExpectRefused(ingestion, "none of its 2 files is a picture; the first, \"a.txt\": neither a PNG");
  EXPECT_EQ(ingestion.report.unreadable_files, 2);
  EXPECT_EQ(ingestion.report.unreadable_examples.size(), 2u);
  ExpectRefused(Ingest(TarFile("a.txt", "text")),
                "its only file, \"a.txt\", is no picture: neither a PNG");
}

TEST_F(IngestTest, ARefusedUploadIsReportedAsFarAsItWent) {
  const Ingestion ingestion =
      Ingest(TarFile("1.png", Png(1)) + TarFile("x", "text") + TarFile("../2.png", Png(2)));
  ExpectRefused(ingestion, "would lead out");
  EXPECT_EQ(ingestion.report.pictures, 1);
  EXPECT_EQ(ingestion.report.unreadable_files, 1);
}

TEST_F(IngestTest, LimitsHold) {
  const std::string three = TarFile("a/1.png", Png(1, 10, 10)) +
                            TarFile("b/2.png", Png(2, 10, 10)) + TarFile("c/3.png", Png(3, 10, 10));
  ExpectRefused(Ingest(three, {.max_unpacked_bytes = 3000}), "unpacks to more than 3000 bytes");
  ExpectRefused(Ingest(three, {.max_pictures = 2}), "more than 2 pictures");
  ExpectRefused(Ingest(three, {.max_total_pixels = 299}), "more than 299 pixels in all");
  ExpectRefused(Ingest(three, {.max_classes = 2}), "there are 3 classes; at most 2");
  ExpectRefused(Ingest(three, {.max_folders = 2}), "more than 2 folders");
  const Ingestion ingestion =
      Ingest(three + TarFile("c/4.png", Png(4, 10, 11)), {.max_pictures = 3,
                                                          .max_total_pixels = 300,
                                                          .max_classes = 3,
                                                          .max_folders = 3,
                                                          .max_pixels = 100});
  ASSERT_TRUE(ingestion.status.ok()) << ingestion.status;
  EXPECT_EQ(ingestion.report.pictures, 3);
  ASSERT_EQ(ingestion.report.unreadable_examples.size(), 1u);
  EXPECT_THAT(ingestion.report.unreadable_examples[0].reason, HasSubstr("at most 100 are allowed"));
}

TEST_F(IngestTest, TheReportDescribesThePictures) {
  const auto encode = [](const Image& image) { return *EncodeImage(image, ImageFormat::kPng); };
  const Ingestion ingestion =
      Ingest(TarFile("rgb.png", encode({2, 1, 3, {255, 0, 0, 255, 255, 0}})) +
             TarFile("gray.png", encode({1, 1, 1, {0}})) +
             TarFile("clear.png", encode({1, 1, 4, {9, 9, 9, 0}})) +
             TarFile("gray2.png", encode({2, 1, 2, {255, 255, 0, 255}})));
  ASSERT_TRUE(ingestion.status.ok()) << ingestion.status;
  const DataSetReport& report = ingestion.report;
  EXPECT_EQ(report.pictures, 4);
  EXPECT_THAT(report.sizes,
              ElementsAre(DataSetReport::Size{1, 1, 2}, DataSetReport::Size{2, 1, 2}));
  EXPECT_EQ(report.distinct_sizes, 2);
  EXPECT_EQ(report.pictures_by_channels, (std::map<int, int64_t>{{1, 1}, {2, 1}, {3, 1}, {4, 1}}));
  // Red of the six pixels: 1, 1; -1; 1 (white below); 1, -1.
  ASSERT_EQ(report.channel_statistics.size(), 3u);
  EXPECT_NEAR(report.channel_statistics[0].mean, 2.0 / 6, 1e-12);
  EXPECT_NEAR(report.channel_statistics[0].standard_deviation, std::sqrt(1 - 4.0 / 36), 1e-12);
  EXPECT_NEAR(report.channel_statistics[2].mean, -2.0 / 6, 1e-12);
  const auto sheet = DecodeImage(report.contact_sheet, kNoLimit);
  ASSERT_TRUE(sheet.ok()) << sheet.status();
  EXPECT_EQ(sheet->width, 8 * (1 + 2) + 2);
}

TEST_F(IngestTest, NearDuplicatesAreNamed) {
  const auto encode = [](const Image& image) { return *EncodeImage(image, ImageFormat::kJpeg); };
  Image other = TestImage(64, 64, 3);
  std::reverse(other.pixels.begin(), other.pixels.end());
  const Ingestion ingestion =
      Ingest(TarFile("1.png", *EncodeImage(TestImage(64, 64, 3), ImageFormat::kPng)) +
             TarFile("2.jpg", encode(TestImage(64, 64, 3))) + TarFile("3.jpg", encode(other)));
  ASSERT_TRUE(ingestion.status.ok()) << ingestion.status;
  EXPECT_EQ(ingestion.report.near_duplicates, 2);
  ASSERT_EQ(ingestion.report.near_duplicate_examples.size(), 1u);
  EXPECT_EQ(ingestion.report.near_duplicate_examples[0].file, "1.png");
  EXPECT_EQ(ingestion.report.near_duplicate_examples[0].other_file, "2.jpg");
}

TEST_F(IngestTest, TheContactSheetShowsEveryClass) {
  std::string members;
  for (int label = 0; label < 3; ++label) {
    for (int i = 0; i < 40; ++i) {
      members += TarFile(absl::StrCat(label, "/", i, ".png"), Png(label * 2 + 1, 200, 100));
    }
  }
  const Ingestion ingestion = Ingest(members);
  ASSERT_TRUE(ingestion.status.ok()) << ingestion.status;
  const auto sheet = DecodeImage(ingestion.report.contact_sheet, kNoLimit);
  ASSERT_TRUE(sheet.ok()) << sheet.status();
  EXPECT_EQ(sheet->width, 8 * (96 + 2) + 2);
  EXPECT_EQ(sheet->height, 8 * (48 + 2) + 2);  // 63 pictures
  const auto red_at = [&](int cell) {
    const int x = cell % 8 * 98 + 50;
    const int y = cell / 8 * 50 + 25;
    return sheet->pixels[(size_t{1} * y * sheet->width + x) * 3];
  };
  EXPECT_EQ(red_at(0), 37);
  EXPECT_EQ(red_at(20), 37);
  EXPECT_EQ(red_at(21), 3 * 37);
  EXPECT_EQ(red_at(62), 5 * 37);
}

TEST_F(IngestTest, CifarAndMnistAreStoredToo) {
  std::string records;
  for (int label = 9; label >= 0; --label) records += CifarRecord(label, label);
  const Ingestion cifar = IngestDataSet(Upload(records), UploadFormat::kCifar10, path_);
  ASSERT_TRUE(cifar.status.ok()) << cifar.status;
  EXPECT_EQ(cifar.report.classes[3].name, "cat");
  EXPECT_EQ(Labels()[6], "cat/00006.png=3");
  fs::remove(path_);

  const Ingestion mnist = IngestDataSet(
      Upload(IdxPictures(2, 2, 2, "aabbccdd") + IdxLabels(2, "\1\4")), UploadFormat::kMnist, path_);
  ASSERT_TRUE(mnist.status.ok()) << mnist.status;
  EXPECT_THAT(Labels(), ElementsAre("1/00000.png=0", "4/00001.png=1"));
  const auto data_set = OpenDataSet(path_);
  EXPECT_EQ(*(*data_set)->Read(0), (Image{2, 2, 1, {'a', 'a', 'b', 'b'}}));
}

TEST_F(IngestTest, ReportsProgressAndCanBeCancelled) {
  std::string members;
  for (int i = 0; i < 500; ++i) members += TarFile(absl::StrCat(i, ".png"), Png(i, 40, 40));
  std::vector<IngestProgress> seen;
  const auto record = [&](const IngestProgress& progress) {
    seen.push_back(progress);
    return absl::OkStatus();
  };
  const Ingestion ingestion =
      IngestDataSet(Upload(members + kTarEnd), UploadFormat::kTar, path_, {}, record);
  ASSERT_TRUE(ingestion.status.ok()) << ingestion.status;
  ASSERT_GT(seen.size(), 5u);
  EXPECT_EQ(seen.back().bytes_read, static_cast<int64_t>(members.size() + kTarEnd.size()));
  EXPECT_GT(seen[seen.size() / 2].pictures, 100);
  fs::remove(path_);

  const auto cancel = [](const IngestProgress& progress) {
    return progress.pictures > 100 ? absl::CancelledError("enough") : absl::OkStatus();
  };
  const Ingestion cancelled =
      IngestDataSet(Upload(members + kTarEnd), UploadFormat::kTar, path_, {}, cancel);
  ExpectStatus(cancelled.status, absl::StatusCode::kCancelled, "enough");
  EXPECT_TRUE(fs::is_empty(folder_.path()));
}

TEST_F(IngestTest, ReportsTheStoredSizeExactly) {
  std::string members;
  for (int i = 0; i < 300; ++i) {  // so many classes that they take pages of their own
    members += TarFile(absl::StrCat(i, std::string(200, 'c'), "/a.png"), Noise(i, 8));
  }
  int64_t told = 0;
  const auto record = [&](const IngestProgress& progress) {
    EXPECT_GE(progress.stored_bytes, UnfinishedBytes());
    told = progress.stored_bytes;
    return absl::OkStatus();
  };
  const Ingestion ingestion =
      IngestDataSet(Upload(members + kTarEnd), UploadFormat::kTar, path_, {}, record);
  ASSERT_TRUE(ingestion.status.ok()) << ingestion.status;
  EXPECT_EQ(told, static_cast<int64_t>(fs::file_size(path_)));
}

TEST_F(IngestTest, AQuotaCanBeEnforcedBeforeWriting) {
  const std::string picture = Noise(1, 300);
  std::string members;
  for (int i = 0; i < 9; ++i) members += TarFile(absl::StrCat(i, ".png"), picture);
  const auto size = static_cast<int64_t>(picture.size());
  const int64_t room = size * 5 / 2;
  const auto keep = [&](const IngestProgress& progress) {
    EXPECT_GE(progress.stored_bytes,
              progress.pictures * size);  // with that which is not written yet
    return progress.stored_bytes > room ? absl::ResourceExhaustedError("no room")
                                        : absl::OkStatus();
  };
  const Ingestion ingestion =
      IngestDataSet(Upload(members + kTarEnd), UploadFormat::kTar, path_, {}, keep);
  ExpectStatus(ingestion.status, absl::StatusCode::kResourceExhausted, "no room");
  EXPECT_EQ(ingestion.report.pictures, 3);  // the third would not fit
  EXPECT_TRUE(fs::is_empty(folder_.path()));
}

// By then the whole upload has been read, so reading reports no more progress.
TEST_F(IngestTest, CanBeCancelledWhileTheReportIsMade) {
  std::string members;
  for (int i = 0; i < 64; ++i) members += TarFile(absl::StrCat(i, ".png"), Noise(i, 16));
  const std::string upload = members + kTarEnd;
  // Before the search, in each of its rounds, and before each picture of the sheet.
  for (const int asked_last : {1, 2, 16, 17, 80}) {
    int asked = 0;
    const auto stop = [&](const IngestProgress& progress) {
      const bool all_read = progress.bytes_read == static_cast<int64_t>(upload.size()) &&
                            progress.pictures == 64 && IsFinished();
      asked += all_read ? 1 : 0;
      return asked == asked_last ? absl::UnavailableError("the server stops") : absl::OkStatus();
    };
    const Ingestion ingestion = IngestDataSet(Upload(upload), UploadFormat::kTar, path_, {}, stop);
    ExpectStatus(ingestion.status, absl::StatusCode::kUnavailable, "the server stops");
    EXPECT_EQ(asked, asked_last);
    EXPECT_TRUE(fs::is_empty(folder_.path()));
  }
}

TEST_F(IngestTest, AReadErrorIsNotInvalidArgument) {
  const OpenBytes broken = []() -> absl::StatusOr<std::unique_ptr<ByteSource>> {
    return absl::UnavailableError("the file cannot be read");
  };
  const Ingestion ingestion = IngestDataSet(broken, UploadFormat::kTar, path_);
  ExpectStatus(ingestion.status, absl::StatusCode::kUnavailable, "cannot be read");
}

}  // namespace
}  // namespace denoise
