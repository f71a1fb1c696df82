#include "core/files/file_watch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>

#include "tests/support/fake_clock.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

class FileWatchTest : public testing::Test {
 protected:
  FileWatchTest() {
    WriteFile(first_, "a");
    WriteFile(second_, "a");
  }

  // Returns once every file has been looked at again.
  void Look() {
    clock_.AwaitDeadline();
    clock_.Advance(absl::Seconds(2));
    clock_.AwaitDeadline();
  }

  TempDir temp_;
  const fs::path first_ = temp_.path() / "first", second_ = temp_.path() / "second";
  FakeClock clock_;
  std::atomic<int> changes_ = 0;
  FileWatch watch_{absl::Seconds(2), &clock_};
};

TEST_F(FileWatchTest, TellsOfAChangeOfAnyFileOnce) {
  watch_.Add({first_, second_}, [this] { ++changes_; });
  Look();
  EXPECT_EQ(changes_, 0);
  WriteFile(second_, "another");
  Look();
  EXPECT_EQ(changes_, 1);
  Look();
  EXPECT_EQ(changes_, 1);
}

TEST_F(FileWatchTest, AReplacedARemovedAndANewFileAreChanges) {
  watch_.Add({first_}, [this] { ++changes_; });
  fs::rename(second_, first_);
  Look();
  EXPECT_EQ(changes_, 1);
  fs::remove(first_);
  Look();
  EXPECT_EQ(changes_, 2);
  WriteFile(first_, "a");
  Look();
  EXPECT_EQ(changes_, 3);
}

// As Kubernetes replaces the files of a secret.
TEST_F(FileWatchTest, ALinkThatLeadsElsewhereIsAChange) {
  const fs::path link = temp_.path() / "link", next = temp_.path() / "next";
  fs::create_symlink(first_, link);
  watch_.Add({link}, [this] { ++changes_; });
  fs::create_symlink(second_, next);
  fs::rename(next, link);
  Look();
  EXPECT_EQ(changes_, 1);
}

}  // namespace
}  // namespace denoise
