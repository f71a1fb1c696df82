#include "server/migration/new_handover_key_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

#include "server/migration/token_keys.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;

struct Result {
  std::optional<int> code;
  std::string out, err;
};

Result RunCommand(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "denoised");
  std::ostringstream out, err;
  const auto code =
      RunNewHandoverKeyCommand(static_cast<int>(arguments.size()), arguments.data(), out, err);
  return {code, out.str(), err.str()};
}

TEST(NewHandoverKeyCommand, PrintsAFileWithANewKey) {
  const Result first = RunCommand({"new-handover-key"}), second = RunCommand({"new-handover-key"});
  ASSERT_EQ(first.code, 0) << first.err;
  const auto keys = ParseTokenKeys(first.out);
  ASSERT_TRUE(keys.ok()) << keys.status();
  EXPECT_EQ(keys->size(), 1u);
  EXPECT_NE(first.out, second.out);
}

TEST(NewHandoverKeyCommand, ExplainsItself) {
  const Result help = RunCommand({"new-handover-key", "--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_THAT(help.out, HasSubstr("denoised new-handover-key > handover.key"));
  EXPECT_EQ(help.err, "");
}

TEST(NewHandoverKeyCommand, TakesNothingElse) {
  const Result result = RunCommand({"new-handover-key", "handover.key"});
  EXPECT_EQ(result.code, 2);
  EXPECT_EQ(result.out, "") << "no key where one was not asked for";
  EXPECT_THAT(result.err, HasSubstr("handover.key"));
  EXPECT_EQ(RunCommand({"new-token"}).code, std::nullopt) << "another command";
}

}  // namespace
}  // namespace denoise
