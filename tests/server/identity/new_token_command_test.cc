#include "server/identity/new_token_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "server/identity/token_file.h"
#include "tests/support/command_result.h"

namespace denoise {
namespace {

using testing::HasSubstr;

CommandResult RunCommand(std::vector<const char*> arguments) {
  return denoise::RunCommand(RunNewTokenCommand, std::move(arguments));
}

TEST(NewTokenCommand, WritesTheEntryForTheFileAndTheTokenApart) {
  const CommandResult result = RunCommand({"new-token", "ci", "--tenant", "acme", "--scopes",
                                           "generate,train", "--expires", "2027-01-31"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto file = TokenFile::Parse(result.out);
  ASSERT_TRUE(file.ok()) << file.status();
  const TokenEntry* const entry = file->Find(result.err.substr(0, result.err.size() - 1));
  ASSERT_NE(entry, nullptr);
  EXPECT_EQ(entry->tenant, "acme");
  EXPECT_EQ(entry->expires, absl::FromUnixSeconds(1801353600));
}

TEST(NewTokenCommand, SaysWhatIsWrong) {
  EXPECT_EQ(RunCommand({"new-token"}).code, 2);
  EXPECT_EQ(RunCommand({"new-token", "ci"}).code, 2);
  EXPECT_THAT(RunCommand({"new-token", "ci", "--tenant", "a", "--scopes", "root"}).err,
              HasSubstr("root"));
  EXPECT_THAT(RunCommand({"new-token", "ci", "--tenant", "a", "--expires", "soon"}).err,
              HasSubstr("--expires must be a day"));
  EXPECT_EQ(RunCommand({"new-token", "ci", "--tenant", "a b"}).code, 2);
}

TEST(NewTokenCommand, LeavesOtherCommandsAlone) {
  EXPECT_EQ(RunCommand({}).code, std::nullopt);
  EXPECT_EQ(RunCommand({"check", "models"}).code, std::nullopt);
}

}  // namespace
}  // namespace denoise
