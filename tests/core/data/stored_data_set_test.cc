#include "core/data/stored_data_set.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/core/data/upload_testing.h"
#include "tests/core/files/full_disk.h"
#include "tests/support/unreadable.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

class StoredDataSetTest : public testing::Test {
 protected:
  // Pictures of two groups; the second is labelled 0, the first 1.
  absl::Status Write(int pictures) {
    auto writer = DataSetWriter::Create(path_);
    if (!writer.ok()) return writer.status();
    for (int i = 0; i < pictures; ++i) {
      const absl::Status added = (*writer)->Add(i % 2, Name(i), Encoded(i));
      if (!added.ok()) return added;
    }
    absl::Status status = (*writer)->Finish({1, 0}, {"odd", "even"});
    if (status.ok()) status = (*writer)->Commit();
    return status;
  }

  std::shared_ptr<const DataSet> Open() {
    auto data_set = OpenDataSet(path_);
    EXPECT_TRUE(data_set.ok()) << data_set.status();
    return data_set.ok() ? *data_set : nullptr;
  }

  // JPEGs, too: a PNG would notice damage by itself.
  static std::string Encoded(int i) {
    return i % 3 == 0 ? *EncodeImage(TestImage(16, 16, 3), ImageFormat::kJpeg) : Png(i);
  }
  static Image Picture(int i) { return *DecodeImage(Encoded(i), kNoLimit); }

  static std::string Name(int i) { return absl::StrCat("folder/ü", i, ".png"); }

  std::vector<std::string> FilesInFolder() const {
    std::vector<std::string> files;
    for (const auto& file : fs::directory_iterator(folder_.path())) {
      files.push_back(file.path().filename());
    }
    return files;
  }

  TempDir folder_;
  const fs::path path_ = folder_.path() / "pictures?of #100%.sqlite";
};

TEST_F(StoredDataSetTest, ReadsInAnyOrder) {
  ASSERT_TRUE(Write(10).ok());
  const auto data_set = Open();
  ASSERT_NE(data_set, nullptr);
  ASSERT_EQ(data_set->size(), 10);
  EXPECT_THAT(data_set->classes(), testing::ElementsAre("odd", "even"));
  for (int i : {9, 0, 5, 5, 2}) {
    EXPECT_EQ(data_set->label(i), i % 2 == 0 ? 1 : 0);
    EXPECT_EQ(data_set->name(i), Name(i));
    const auto image = data_set->Read(i);
    ASSERT_TRUE(image.ok()) << image.status();
    EXPECT_EQ(*image, Picture(i));
  }
  EXPECT_THAT(FilesInFolder(), testing::ElementsAre(path_.filename()));
}

TEST_F(StoredDataSetTest, ManyThreadsReadAtOnce) {
  ASSERT_TRUE(Write(50).ok());
  const auto data_set = Open();
  ASSERT_NE(data_set, nullptr);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int k = 0; k < 100; ++k) {
        const int i = (k * 7 + t * 13) % 50;
        const auto image = data_set->Read(i);
        if (!image.ok() || *image != Picture(i)) ++wrong;
        if (data_set->name(i) != Name(i)) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(StoredDataSetTest, AppearsOnCommit) {
  {
    auto writer = DataSetWriter::Create(path_);
    ASSERT_TRUE(writer.ok()) << writer.status();
    ASSERT_TRUE((*writer)->Add(0, "a.png", Png()).ok());
    ExpectStatus(OpenDataSet(path_).status(), absl::StatusCode::kNotFound, "no such data set");
    ASSERT_TRUE((*writer)->Finish({0}, {}).ok());
    ExpectStatus(OpenDataSet(path_).status(), absl::StatusCode::kNotFound, "no such data set");
    const auto unfinished = OpenDataSet((*writer)->unfinished_path());
    ASSERT_TRUE(unfinished.ok()) << unfinished.status();
    EXPECT_EQ((*unfinished)->size(), 1);
  }
  EXPECT_THAT(FilesInFolder(), testing::IsEmpty());
}

// Kills a writer at many points of its work. What it leaves is no data set, and in nobody's way.
TEST_F(StoredDataSetTest, AKilledWriterLeavesNoDataSet) {
  for (int added = 0; added < 400; added += 80) {
    const pid_t child = fork();
    if (child == 0) {
      auto writer = DataSetWriter::Create(path_);
      // Random enough not to be compressed: more than SQLite's cache holds, so that some is
      // written.
      for (int i = 0; i < added; ++i) {
        (void)(*writer)->Add(0, Name(i), *EncodeImage(TestImage(97, 61, 3), ImageFormat::kPng));
      }
      if (added > 200) (void)(*writer)->Finish({0}, {});
      kill(getpid(), SIGKILL);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    EXPECT_EQ(FilesInFolder().size(), 1u);  // the unfinished file
    ExpectStatus(OpenDataSet(path_).status(), absl::StatusCode::kNotFound, "no such data set");
  }
  ASSERT_TRUE(Write(3).ok());
  EXPECT_EQ(Open()->size(), 3);
  EXPECT_EQ(FilesInFolder().size(), 1u);
}

TEST_F(StoredDataSetTest, AnUnfinishedFileUnderItsNameIsRefused) {
  auto writer = DataSetWriter::Create(path_);
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (int i = 0; i < 2000; ++i) ASSERT_TRUE((*writer)->Add(0, Name(i), Png(i, 40, 40)).ok());
  fs::copy_file((*writer)->unfinished_path(), path_);
  ExpectStatus(OpenDataSet(path_).status(), absl::StatusCode::kDataLoss, "");
}

TEST_F(StoredDataSetTest, RefusesAnExistingName) {
  ASSERT_TRUE(Write(1).ok());
  ExpectStatus(Write(1), absl::StatusCode::kAlreadyExists, "there is a file of that name");
}

TEST_F(StoredDataSetTest, AFullDiskIsResourceExhaustedAndLeavesNothing) {
  absl::Status status;
  {
    const FullDisk full(100'000, FullDisk::Then::kError);
    status = Write(2000);
  }
  ExpectStatus(status, absl::StatusCode::kResourceExhausted, "cannot be written now");
  EXPECT_THAT(FilesInFolder(), testing::IsEmpty());
}

TEST_F(StoredDataSetTest, AMissingFolderIsUnavailable) {
  ExpectStatus(DataSetWriter::Create(folder_.path() / "none" / "file").status(),
               absl::StatusCode::kUnavailable, "cannot be written now");
}

TEST_F(StoredDataSetTest, AFileOfAnotherKindIsDataLoss) {
  WriteFile(path_, "");
  ExpectStatus(OpenDataSet(path_).status(), absl::StatusCode::kDataLoss, "");
  WriteFile(path_, std::string(5000, 'x'));
  ExpectStatus(OpenDataSet(path_).status(), absl::StatusCode::kDataLoss, "is damaged");
  fs::remove(path_);
  fs::create_directory(path_);
  ExpectStatus(OpenDataSet(path_).status(), absl::StatusCode::kDataLoss, "");
}

TEST_F(StoredDataSetTest, WhatCannotBeReadNowIsUnavailable) {
  ASSERT_TRUE(Write(1).ok());
  {
    const Unreadable unreadable(path_);
    ExpectStatus(OpenDataSet(path_).status(), absl::StatusCode::kUnavailable, "be read now");
  }
  {
    const NoDescriptors none;
    ExpectStatus(OpenDataSet(path_).status(), absl::StatusCode::kUnavailable, "be read now");
  }
  EXPECT_TRUE(OpenDataSet(path_).ok());
}

TEST_F(StoredDataSetTest, EveryTruncationIsDataLoss) {
  ASSERT_TRUE(Write(40).ok());
  const std::string bytes = ReadFile(path_);
  for (size_t size = 0; size < bytes.size(); size += 1024) {
    WriteFile(path_, bytes.substr(0, size));
    const auto data_set = OpenDataSet(path_);
    if (!data_set.ok()) {
      EXPECT_EQ(data_set.status().code(), absl::StatusCode::kDataLoss) << size;
      continue;
    }
    bool lost = false;
    for (int i = 0; i < 40; ++i) lost = lost || !(*data_set)->Read(i).ok();
    EXPECT_TRUE(lost) << size;
  }
}

// Whatever byte changes, no other picture, label or name is handed out.
TEST_F(StoredDataSetTest, DetectsAnyDamage) {
  constexpr int kPictures = 40;
  ASSERT_TRUE(Write(kPictures).ok());
  const std::string bytes = ReadFile(path_);
  int noticed = 0;
  for (size_t i = 0; i < bytes.size(); i += 37) {
    std::string damaged = bytes;
    damaged[i] ^= 0x41;
    WriteFile(path_, damaged);
    const auto data_set = OpenDataSet(path_);
    if (!data_set.ok()) {
      EXPECT_EQ(data_set.status().code(), absl::StatusCode::kDataLoss) << i;
      ++noticed;
      continue;
    }
    ASSERT_EQ((*data_set)->size(), kPictures) << i;
    for (int k = 0; k < kPictures; ++k) {
      const auto image = (*data_set)->Read(k);
      if (!image.ok()) {
        EXPECT_EQ(image.status().code(), absl::StatusCode::kDataLoss) << i;
        ++noticed;
        continue;
      }
      ASSERT_EQ(*image, Picture(k)) << i;
      ASSERT_EQ((*data_set)->label(k), k % 2 == 0 ? 1 : 0) << i;
      ASSERT_EQ((*data_set)->name(k), Name(k)) << i;
    }
  }
  EXPECT_GT(noticed, 50);
}

}  // namespace
}  // namespace denoise
