#include "server/jobs/store/state_dir.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;

TEST(StateDir, MakesTheFolderAndItsParts) {
  TempDir temp;

  const auto state = StateDir::Open(temp.path() / "a" / "state");

  ASSERT_TRUE(state.ok()) << state.status();
  EXPECT_TRUE(std::filesystem::is_directory(state->jobs()));
  EXPECT_TRUE(std::filesystem::is_directory(state->data_sets()));
  EXPECT_TRUE(state->database().is_absolute());
}

TEST(StateDir, ASecondServerIsRefusedUntilTheFirstHasGone) {
  TempDir temp;
  std::optional<StateDir> first = *StateDir::Open(temp.path());

  const absl::Status second = StateDir::Open(temp.path()).status();

  EXPECT_EQ(second.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(second.message()), HasSubstr("another server"));
  EXPECT_THAT(std::string(second.message()), HasSubstr(temp.path().string()));
  first.reset();
  EXPECT_TRUE(StateDir::Open(temp.path()).ok());
}

TEST(StateDir, ARemovedLockFileLetsNobodyIn) {
  TempDir temp;
  const StateDir first = *StateDir::Open(temp.path());
  std::filesystem::remove(temp.path() / "lock");
  EXPECT_THAT(std::string(StateDir::Open(temp.path()).status().message()),
              HasSubstr("another server"));
}

TEST(StateDir, IsForItsUserAlone) {
  TempDir temp;
  const auto state = StateDir::Open(temp.path() / "a" / "state");
  ASSERT_TRUE(state.ok()) << state.status();
  EXPECT_EQ(std::filesystem::status(state->path()).permissions(),
            std::filesystem::perms::owner_all);
}

TEST(StateDir, AFileInItsPlaceIsNoStateFolder) {
  TempDir temp;
  WriteFile(temp.path() / "state", "a file");

  const absl::Status status = StateDir::Open(temp.path() / "state").status();

  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("cannot be used"));
}

TEST(StateDir, AFileInThePlaceOfAPartIsFoundWhenItIsOpened) {
  TempDir temp;
  std::filesystem::create_directories(temp.path() / "state");
  WriteFile(temp.path() / "state" / "jobs", "a file");

  const absl::Status status = StateDir::Open(temp.path() / "state").status();

  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("cannot be used"));
}

}  // namespace
}  // namespace denoise
