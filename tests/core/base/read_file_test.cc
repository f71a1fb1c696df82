#include "core/base/read_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

using testing::HasSubstr;

std::string Complaint(const std::string& path, size_t max_bytes) {
  const auto bytes = ReadFile(path, max_bytes);
  EXPECT_EQ(bytes.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(bytes.status().message());
}

TEST(ReadFile, ReadsUpToItsLimit) {
  const TempDir folder;
  const std::string path = folder.path() / "file";
  const std::string text("a\0b\n", 4);
  std::ofstream(path, std::ios::binary) << text;
  EXPECT_EQ(ReadFile(path, 4).value(), text);
  EXPECT_THAT(Complaint(path, 3), HasSubstr("has more than 3 bytes"));
}

TEST(ReadFile, TakesNoMoreMemoryThanTheFileWhateverTheLimit) {
  const TempDir folder;
  const std::string path = folder.path() / "file";
  const std::string text((size_t{5} << 19) + 1, 'x');  // several reads
  std::ofstream(path, std::ios::binary) << text;
  EXPECT_EQ(ReadFile(path, size_t{1} << 60).value(), text);
  EXPECT_EQ(ReadFile(path, text.size()).value(), text);
  EXPECT_THAT(Complaint(path, text.size() - 1), HasSubstr("has more than"));
}

TEST(ReadFile, SaysWhatIsWrong) {
  const TempDir folder;
  EXPECT_THAT(Complaint(folder.path() / "none", 10), HasSubstr("cannot read"));
  EXPECT_THAT(Complaint(folder.path(), 10), HasSubstr("cannot read"));
  std::ofstream(folder.path() / "empty").close();
  EXPECT_THAT(Complaint(folder.path() / "empty", 10), HasSubstr("is empty"));
}

}  // namespace
}  // namespace denoise
