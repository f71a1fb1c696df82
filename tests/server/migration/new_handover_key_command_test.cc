#include "server/migration/new_handover_key_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "server/migration/token_keys.h"
#include "tests/support/command_result.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;

CommandResult RunCommand(std::vector<const char*> arguments) {
  return denoise::RunCommand(RunNewHandoverKeyCommand, std::move(arguments));
}

TEST(NewHandoverKeyCommand, PrintsAFileWithANewKey) {
  const CommandResult first = RunCommand({"new-handover-key"}),
                      second = RunCommand({"new-handover-key"});
  ASSERT_EQ(first.code, 0) << first.err;
  const auto keys = ParseTokenKeys(first.out);
  ASSERT_TRUE(keys.ok()) << keys.status();
  EXPECT_EQ(keys->size(), 1u);
  EXPECT_NE(first.out, second.out);
}

TEST(NewHandoverKeyCommand, ExplainsItself) {
  const CommandResult help = RunCommand({"new-handover-key", "--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_THAT(help.out, HasSubstr("denoised new-handover-key > handover.key"));
  EXPECT_EQ(help.err, "");
}

TEST(NewHandoverKeyCommand, TakesNothingElse) {
  const CommandResult result = RunCommand({"new-handover-key", "handover.key"});
  EXPECT_EQ(result.code, 2);
  EXPECT_EQ(result.out, "") << "no key where one was not asked for";
  EXPECT_THAT(result.err, HasSubstr("handover.key"));
  EXPECT_EQ(RunCommand({"new-token"}).code, std::nullopt) << "another command";
}

}  // namespace
}  // namespace denoise
