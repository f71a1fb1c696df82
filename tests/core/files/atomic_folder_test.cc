#include "core/files/atomic_folder.h"

#include <gtest/gtest.h>

#include "core/files/atomic_file.h"
#include "tests/core/files/full_disk.h"
#include "tests/core/io/io_testing.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

constexpr auto kExists = absl::StatusCode::kAlreadyExists;

class AtomicFolderTest : public testing::Test {
 protected:
  int64_t EntriesOfParent() const {
    const fs::directory_iterator entries(parent_.path());
    return std::distance(begin(entries), end(entries));
  }

  TempDir parent_;
  const fs::path goal_ = parent_.path() / "goal";
};

TEST_F(AtomicFolderTest, AppearsCompleteOnCommit) {
  auto folder = AtomicFolder::Create(goal_);
  ASSERT_TRUE(folder.ok()) << folder.status();
  ASSERT_TRUE(folder->MakeFolder("unet").ok());
  ASSERT_TRUE(WriteFileAtomically(folder->path() / "unet" / "config.json", "{}").ok());
  EXPECT_FALSE(fs::exists(goal_));
  ASSERT_TRUE(folder->Commit().ok());
  EXPECT_EQ(ReadFile(goal_ / "unet" / "config.json"), "{}");
  EXPECT_EQ(EntriesOfParent(), 1);
}

TEST_F(AtomicFolderTest, LeavesNothingUnlessItIsCommitted) {
  {
    const auto folder = AtomicFolder::Create(goal_);
    ASSERT_TRUE(WriteFileAtomically(folder->path() / "file", "text").ok());
    EXPECT_EQ(EntriesOfParent(), 1);
  }
  EXPECT_EQ(EntriesOfParent(), 0);
}

TEST_F(AtomicFolderTest, NeverReplacesAnything) {
  fs::create_directory(goal_);
  ExpectStatus(AtomicFolder::Create(goal_).status(), kExists, "");
  ExpectStatus(AtomicFolder::Create(goal_ / "").status(), kExists, "");
  fs::remove(goal_);
  auto folder = AtomicFolder::Create(goal_);
  ASSERT_TRUE(folder.ok()) << folder.status();
  // Not even of an empty folder, which comes in between.
  fs::create_directory(goal_);
  ExpectStatus(folder->Commit(), kExists, "");
  fs::remove(goal_);
  fs::create_symlink("nowhere", goal_);
  ExpectStatus(folder->Commit(), kExists, "");
  ExpectStatus(AtomicFolder::Create(goal_).status(), kExists, "");
  fs::remove(goal_);
  EXPECT_TRUE(folder->Commit().ok());
}

TEST_F(AtomicFolderTest, ErrorsDoNotNameThePath) {
  const absl::Status status = AtomicFolder::Create(parent_.path() / "none" / "goal").status();
  ExpectStatus(status, absl::StatusCode::kNotFound, "create that first");
  EXPECT_THAT(std::string(status.message()),
              testing::Not(testing::HasSubstr(parent_.path().string())));
}

// Killed in the middle of a write, as by a crash of the machine.
TEST_F(AtomicFolderTest, AKilledWriterLeavesOnlyFilesThatAreRemovedLater) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const fs::path goal = "build/atomic_folder_test/goal";  // the same in the other process
  fs::remove_all(goal.parent_path());
  fs::create_directories(goal.parent_path());
  const auto write = [&] {
    auto folder = AtomicFolder::Create(goal);
    const FullDisk full(100, FullDisk::Then::kKill);
    (void)WriteFileAtomically(folder->path() / "file", std::string(101, 'x'));
  };
  EXPECT_EXIT(write(), testing::KilledBySignal(SIGXFSZ), "");
  EXPECT_FALSE(fs::exists(goal));
  EXPECT_FALSE(fs::is_empty(goal.parent_path()));
  WriteFile(goal.parent_path() / "other", "stays");
  EXPECT_TRUE(RemoveUnfinishedFolders(goal.parent_path()).ok());
  EXPECT_TRUE(fs::exists(goal.parent_path() / "other"));
  EXPECT_EQ(fs::remove_all(goal.parent_path()), 2u);
}

TEST_F(AtomicFolderTest, RemovesAFolderWithItsContents) {
  fs::create_directories(goal_ / "a" / "b");
  WriteFile(goal_ / "a" / "file", "text");
  WriteFile(parent_.path() / "other", "stays");
  EXPECT_TRUE(RemoveFolder(goal_).ok());
  EXPECT_EQ(EntriesOfParent(), 1);
  ExpectStatus(RemoveFolder(goal_), absl::StatusCode::kNotFound, "cannot remove the folder");
  EXPECT_EQ(EntriesOfParent(), 1);
}

TEST_F(AtomicFolderTest, IgnoresWhatACrashLeft) {
  const auto first = AtomicFolder::Create(goal_);
  const std::string name = first->path().filename();
  // As processes of the same number, one after the other, would name them.
  const auto last_dash = name.rfind('-');
  const int counter = std::stoi(name.substr(last_dash + 1));
  fs::create_directory(parent_.path() /
                       (name.substr(0, last_dash + 1) + std::to_string(counter + 1)));
  EXPECT_TRUE(AtomicFolder::Create(goal_).ok());
}

}  // namespace
}  // namespace denoise
