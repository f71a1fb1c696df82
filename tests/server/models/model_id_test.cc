#include "server/models/model_id.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

TEST(ModelId, HasAVersionOrNone) {
  EXPECT_THAT(SplitModelId("emoji-32"), Pair("emoji-32", 0));
  EXPECT_THAT(SplitModelId("emoji-32@2"), Pair("emoji-32", 2));
  EXPECT_THAT(SplitModelId("emoji-32@999999999"), Pair("emoji-32", 999'999'999));
}

TEST(ModelId, WhatIsNoVersionMakesNoId) {
  for (const char* id : {"", "@2", "a@", "a@0", "a@01", "a@-1", "a@+1", "a@1.5", "a@two", "a@1@2",
                         "a@1000000000", "a@ 1", "a@1/..", "../a@1", ".a@1"}) {
    EXPECT_FALSE(IsValidModelId(id)) << id;
  }
  EXPECT_TRUE(IsValidModelId("a@1"));
  EXPECT_EQ(ParseModelName("models/a@12"), "a@12");
  EXPECT_EQ(ParseModelName("models/a@x"), std::nullopt);
}

TEST(ModelId, VersionsAreOrderedByNumber) {
  std::vector<std::string> ids = {"b", "a@10", "a-b", "a@9", "a", "a.c@1"};
  std::sort(ids.begin(), ids.end(), ModelIdLess());
  EXPECT_THAT(ids, ElementsAre("a", "a@9", "a@10", "a-b", "a.c@1", "b"));
}

}  // namespace
}  // namespace denoise
