#include "server/migration/token_keys.h"

#include <gtest/gtest.h>

#include <string>

namespace denoise {
namespace {

const std::string kOnes(64, '1');

TEST(TokenKeys, AFileHoldsAKeyOnEachLine) {
  const auto keys = ParseTokenKeys("# newest first\n\n" + kOnes + "\r\n  " + std::string(64, 'A'));
  ASSERT_TRUE(keys.ok()) << keys.status();
  ASSERT_EQ(keys->size(), 2);
  EXPECT_EQ(keys->front().secret.front(), 0x11);
  EXPECT_EQ(keys->back().secret.back(), 0xAA);
  EXPECT_NE(keys->front().id, keys->back().id);
}

TEST(TokenKeys, NewKeysAreLinesOfAFileAndDiffer) {
  const auto keys = ParseTokenKeys(NewTokenKeyLine() + NewTokenKeyLine());
  ASSERT_TRUE(keys.ok()) << keys.status();
  EXPECT_NE(keys->front().secret, keys->back().secret);
}

TEST(TokenKeys, AnErrorNamesTheLineAndNotTheKey) {
  for (const std::string& bad :
       {kOnes.substr(1), kOnes + "1", kOnes + "11", kOnes.substr(1) + "x", kOnes + " " + kOnes}) {
    const auto keys = ParseTokenKeys(kOnes + "\n" + bad);
    ASSERT_TRUE(absl::IsInvalidArgument(keys.status())) << bad;
    const std::string message(keys.status().message());
    EXPECT_NE(message.find("line 2"), std::string::npos) << message;
    EXPECT_EQ(message.find("111"), std::string::npos) << message;
  }
}

TEST(TokenKeys, AFileHoldsAtLeastOneAndAtMostSixteen) {
  EXPECT_TRUE(absl::IsInvalidArgument(ParseTokenKeys("# none\n").status()));
  std::string text;
  for (int i = 0; i < 16; ++i) text += NewTokenKeyLine();
  EXPECT_TRUE(ParseTokenKeys(text).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(ParseTokenKeys(text + NewTokenKeyLine()).status()));
}

}  // namespace
}  // namespace denoise
