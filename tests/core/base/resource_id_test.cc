#include "core/base/resource_id.h"

#include <gtest/gtest.h>

#include <string>

namespace denoise {
namespace {

TEST(ResourceId, HasLettersDigitsAndAFewSigns) {
  for (const char* id : {"a", "emoji-32", "v1.5_final", "0"}) {
    EXPECT_TRUE(IsValidResourceId(id)) << id;
  }
  for (const char* id : {"", ".", "..", "-a", "_a", "a/b", "a b", "a\n", "../a", "\u00e9"}) {
    EXPECT_FALSE(IsValidResourceId(id)) << id;
  }
}

TEST(ResourceId, HasAtMost128Characters) {
  EXPECT_TRUE(IsValidResourceId(std::string(128, 'a')));
  EXPECT_FALSE(IsValidResourceId(std::string(129, 'a')));
}

}  // namespace
}  // namespace denoise
