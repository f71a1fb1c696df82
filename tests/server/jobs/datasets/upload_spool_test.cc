#include "server/jobs/datasets/upload_spool.h"

#include <gtest/gtest.h>

#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

class UploadSpoolTest : public ::testing::Test {
 protected:
  std::filesystem::path path() const { return temp_.path() / "1" / "upload"; }

  TempDir temp_;
};

TEST_F(UploadSpoolTest, GoesOnWhereItIsTold) {
  {
    auto spool = *UploadSpool::Open(path(), 0);
    ASSERT_TRUE(spool.Append("0123456789").ok());
    EXPECT_EQ(spool.size(), 10);
    EXPECT_EQ(spool.synced(), 0);
    ASSERT_TRUE(spool.Sync().ok());
    EXPECT_EQ(spool.synced(), 10);
  }
  auto spool = *UploadSpool::Open(path(), 4);
  EXPECT_EQ(ReadFile(path()), "0123");  // what lay behind was never acknowledged
  ASSERT_TRUE(spool.Append("abc").ok());

  EXPECT_EQ(ReadFile(path()), "0123abc");
}

TEST_F(UploadSpoolTest, BytesThatWereSafeAndAreGoneAreDataLoss) {
  ASSERT_TRUE(UploadSpool::Open(path(), 0)->Append("0123").ok());

  EXPECT_EQ(UploadSpool::Open(path(), 5).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(UploadSpoolTest, ALinkInItsPlaceIsNotFollowed) {
  std::filesystem::create_directory(temp_.path() / "1");
  WriteFile(temp_.path() / "precious", "keep me");
  std::filesystem::create_symlink(temp_.path() / "precious", path());

  EXPECT_FALSE(UploadSpool::Open(path(), 0).ok());
  EXPECT_EQ(ReadFile(temp_.path() / "precious"), "keep me");
}

}  // namespace
}  // namespace denoise
