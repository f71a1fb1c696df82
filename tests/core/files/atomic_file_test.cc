#include "core/files/atomic_file.h"

#include <gtest/gtest.h>

#include "core/base/file_system_error.h"
#include "tests/core/files/full_disk.h"
#include "tests/core/io/io_testing.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

class AtomicFileTest : public testing::Test {
 protected:
  int64_t FilesInFolder() const {
    const fs::directory_iterator files(folder_.path());
    return std::distance(begin(files), end(files));
  }

  TempDir folder_;
  const fs::path path_ = folder_.path() / "file";
};

TEST_F(AtomicFileTest, AppearsWithItsContentOnCommit) {
  auto file = AtomicFile::Create(path_);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_TRUE(file->Append("one, ").ok());
  ASSERT_TRUE(file->Append("two").ok());
  EXPECT_FALSE(fs::exists(path_));
  ASSERT_TRUE(file->Commit().ok());
  EXPECT_EQ(ReadFile(path_), "one, two");
  EXPECT_EQ(FilesInFolder(), 1);
}

TEST_F(AtomicFileTest, ReplacesAnExistingFile) {
  ASSERT_TRUE(WriteFileAtomically(path_, "old").ok());
  ASSERT_TRUE(WriteFileAtomically(path_, "new").ok());
  EXPECT_EQ(ReadFile(path_), "new");
}

TEST_F(AtomicFileTest, LeavesNothingUnlessItIsCommitted) {
  { ASSERT_TRUE(AtomicFile::Create(path_)->Append("text").ok()); }
  EXPECT_EQ(FilesInFolder(), 0);
}

TEST_F(AtomicFileTest, AFullDiskIsResourceExhaustedAndLeavesTheOldFile) {
  ASSERT_TRUE(WriteFileAtomically(path_, "old").ok());
  absl::Status status;
  {
    const FullDisk full(100, FullDisk::Then::kError);
    status = WriteFileAtomically(path_, std::string(101, 'x'));
  }
  ExpectStatus(status, absl::StatusCode::kResourceExhausted, "cannot write the file");
  EXPECT_EQ(ReadFile(path_), "old");
  EXPECT_EQ(FilesInFolder(), 1);
}

TEST(FileSystemError, NoSpaceLeftIsResourceExhausted) {
  for (int error : {ENOSPC, EDQUOT, EFBIG}) {
    EXPECT_TRUE(absl::IsResourceExhausted(FileSystemError(error, "no"))) << error;
  }
  EXPECT_TRUE(absl::IsPermissionDenied(FileSystemError(EACCES, "no")));
}

TEST(FileSystemError, ALackOfDescriptorsIsNoFullDisk) {
  for (int error : {EMFILE, ENFILE, ENOMEM}) {
    EXPECT_TRUE(absl::IsUnavailable(FileSystemError(error, "no"))) << error;
  }
}

}  // namespace
}  // namespace denoise
