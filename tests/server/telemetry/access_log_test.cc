#include "server/telemetry/access_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

using Json = nlohmann::ordered_json;

std::vector<std::string> LinesOf(const std::filesystem::path& file) {
  std::ifstream stream(file);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

TEST(AccessLog, ALineOfJsonComesAfterTheOther) {
  const TempDir folder;
  const std::filesystem::path file = folder.path() / "calls.log";
  {
    const auto log = AccessLog::Open({.file = file});
    ASSERT_TRUE(log.ok()) << log.status();
    (*log)->Write({{"method", "Generate"}, {"seconds", 0.25}});
    (*log)->Write({{"method", "two\nlines \"quoted\""}, {"model", "not UTF-8: \xff"}});
    EXPECT_EQ((*log)->lines_dropped(), 0);
  }
  EXPECT_THAT(
      LinesOf(file),
      testing::ElementsAre(
          R"({"method":"Generate","seconds":0.25})",
          "{\"method\":\"two\\nlines \\\"quoted\\\"\",\"model\":\"not UTF-8: \xEF\xBF\xBD\"}"));
}

TEST(AccessLog, WhatIsThereStays) {
  const TempDir folder;
  const std::filesystem::path file = folder.path() / "calls.log";
  for (const char* method : {"first", "second"}) {
    const auto log = AccessLog::Open({.file = file});
    ASSERT_TRUE(log.ok()) << log.status();
    (*log)->Write({{"method", method}});
  }
  EXPECT_EQ(LinesOf(file).size(), 2u);
}

TEST(AccessLog, AFullFileMakesRoomForANewOneAndTheOldestGoes) {
  const TempDir folder;
  {
    const auto log = AccessLog::Open(
        {.file = folder.path() / "calls.log", .file_bytes_max = 1000, .old_files = 2});
    ASSERT_TRUE(log.ok()) << log.status();
    for (int i = 0; i < 100; ++i) (*log)->Write({{"number", i}, {"text", std::string(90, 'x')}});
  }
  int files = 0, last = -1;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    ++files;
    EXPECT_LE(entry.file_size(), 1000u) << entry.path();
    for (const std::string& line : LinesOf(entry.path())) {
      last = std::max(last, Json::parse(line)["number"].get<int>());
    }
  }
  EXPECT_EQ(files, 3);
  EXPECT_EQ(last, 99);
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "calls.1.log"));
}

TEST(AccessLog, LinesThatComeTooFastAreDroppedAndCounted) {
  const TempDir folder;
  const std::filesystem::path file = folder.path() / "calls.log";
  int64_t dropped = 0;
  constexpr int kLines = 20'000;
  {
    const auto log = AccessLog::Open({.file = file, .lines_max = 1});
    ASSERT_TRUE(log.ok()) << log.status();
    for (int i = 0; i < kLines; ++i) (*log)->Write({{"number", i}});
    dropped = (*log)->lines_dropped();
  }
  EXPECT_EQ(static_cast<int64_t>(LinesOf(file).size()) + dropped, kLines);
  EXPECT_GT(dropped, 0);
}

TEST(AccessLog, AFileThatCannotBeOpenedIsRefused) {
  const auto log = AccessLog::Open({.file = "/proc/none/calls.log"});
  EXPECT_TRUE(absl::IsInvalidArgument(log.status()));
  EXPECT_THAT(std::string(log.status().message()), testing::HasSubstr("--access-log"));
}

TEST(AccessLog, TimesAreInUtcWithMilliseconds) {
  EXPECT_EQ(LogTime(absl::FromUnixMillis(1'769'860'800'007)), "2026-01-31T12:00:00.007Z");
}

}  // namespace
}  // namespace denoise
