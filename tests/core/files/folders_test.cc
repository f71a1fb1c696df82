#include "core/files/folders.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/core/io/io_testing.h"
#include "tests/support/temp_dir.h"
#include "tests/support/unreadable.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

class FoldersTest : public testing::Test {
 protected:
  TempDir temp_;
  const fs::path path_ = temp_.path() / "folder";
};

TEST_F(FoldersTest, LeavesAnExistingFolderUnchanged) {
  ASSERT_TRUE(MakeFolder(path_).ok());
  WriteFile(path_ / "file", "x");
  EXPECT_TRUE(MakeFolder(path_).ok());
  EXPECT_EQ(ReadFile(path_ / "file"), "x");
}

TEST_F(FoldersTest, AFolderMayBePrivate) {
  ASSERT_TRUE(MakeFolder(path_, 0700).ok());
  EXPECT_EQ(fs::status(path_).permissions(), fs::perms::owner_all);
}

TEST_F(FoldersTest, ErrorsDoNotNameThePath) {
  const absl::Status status = MakeFolder(path_ / "deeper");
  ExpectStatus(status, absl::StatusCode::kNotFound, "cannot create the folder");
  EXPECT_EQ(status.message().find("deeper"), absl::string_view::npos);
}

TEST_F(FoldersTest, RemovesATreeAndIgnoresAMissingOne) {
  fs::create_directories(path_ / "a" / "b");
  WriteFile(path_ / "a" / "file", "x");
  EXPECT_TRUE(RemoveTree(path_).ok());
  EXPECT_FALSE(fs::exists(path_));
  EXPECT_TRUE(RemoveTree(path_).ok());
  WriteFile(path_, "a file");
  EXPECT_TRUE(RemoveTree(path_).ok());
  EXPECT_FALSE(fs::exists(path_));
}

TEST_F(FoldersTest, KeepsTheTargetOfALink) {
  fs::create_directories(path_);
  WriteFile(temp_.path() / "precious", "keep me");
  fs::create_symlink(temp_.path() / "precious", path_ / "link");
  EXPECT_TRUE(RemoveTree(path_).ok());
  EXPECT_EQ(ReadFile(temp_.path() / "precious"), "keep me");
}

TEST_F(FoldersTest, ListsInOrder) {
  fs::create_directories(path_ / "b");
  WriteFile(path_ / "a", "x");
  EXPECT_EQ(*ListFolder(path_), (std::vector<fs::path>{path_ / "a", path_ / "b"}));
  EXPECT_EQ(ListFolder(path_ / "c").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(FoldersTest, WhatCannotBeReadIsNotMissing) {
  EXPECT_EQ(*Exists(path_), false);
  fs::create_directories(path_);
  EXPECT_EQ(*Exists(path_), true);
  const Unreadable unreadable(path_);
  EXPECT_FALSE(Exists(path_).ok());
  EXPECT_FALSE(Exists(path_ / "file").ok());
  EXPECT_NE(ListFolder(path_).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace denoise
