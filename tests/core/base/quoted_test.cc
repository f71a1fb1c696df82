#include "core/base/quoted.h"

#include <gtest/gtest.h>

#include <string>

namespace denoise {
namespace {

TEST(Quoted, LeavesNamesAsTheyAre) {
  EXPECT_EQ(Quoted("conv.weight"), "\"conv.weight\"");
  EXPECT_EQ(Escaped("down_block_types[0]"), "down_block_types[0]");
}

TEST(Quoted, EscapesMisleadingText) {
  EXPECT_EQ(Quoted("a\x1b[31m\"\n"), "\"a\\x1b[31m\\\"\\n\"");
  EXPECT_EQ(Escaped("a\x1b[31m\"\n\xff"), "a\\x1b[31m\\\"\\n\\xff");
}

TEST(Quoted, TruncatesLongText) {
  EXPECT_EQ(Quoted(std::string(100, 'a')), "\"" + std::string(100, 'a') + "\"");
  EXPECT_EQ(Quoted(std::string(101, 'a')), "\"" + std::string(100, 'a') + "\"...");
  EXPECT_EQ(Escaped(std::string(101, 'a')), std::string(100, 'a') + "...");
}

}  // namespace
}  // namespace denoise
