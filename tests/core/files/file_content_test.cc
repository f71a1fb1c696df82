#include "core/files/file_content.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

TEST(FileContent, IsWhatTheFileHeldWhenItWasRead) {
  const TempDir folder;
  const std::filesystem::path path = folder.path() / "file";
  WriteFile(path, std::string(100'000, 'a'));
  const auto content = FileContent::Read(path);
  ASSERT_TRUE(content.ok()) << content.status();
  std::filesystem::resize_file(path, 0);  // would take the pages of a mapping away
  EXPECT_EQ((*content)->bytes(), std::string(100'000, 'a'));
}

TEST(FileContent, AnEmptyFileHasNoBytes) {
  const TempDir folder;
  WriteFile(folder.path() / "file", "");
  EXPECT_EQ(FileContent::Read(folder.path() / "file").value()->bytes(), "");
}

TEST(FileContent, RefusesWhatIsTooLargeOrNoFile) {
  const TempDir folder;
  WriteFile(folder.path() / "file", "12345");
  EXPECT_TRUE(FileContent::Read(folder.path() / "file", 5).ok());
  EXPECT_EQ(FileContent::Read(folder.path() / "file", 4).status(),
            absl::InvalidArgumentError("has 5 bytes; at most 4 are allowed"));
  EXPECT_TRUE(absl::IsInvalidArgument(FileContent::Read(folder.path()).status()));
  EXPECT_TRUE(absl::IsNotFound(FileContent::Read(folder.path() / "absent").status()));
}

}  // namespace
}  // namespace denoise
