#include "core/base/check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace denoise {
namespace {

using ::testing::ContainsRegex;

#ifdef NDEBUG

TEST(Check, DoesNotEvaluateItsConditionInAReleaseBuild) {
  int evaluated = 0;
  DENOISE_DCHECK(++evaluated == 0);
  EXPECT_EQ(evaluated, 0);
}

#else

TEST(Check, PassesWhereTheConditionHolds) {
  int evaluated = 0;
  DENOISE_DCHECK(++evaluated == 1);
  EXPECT_EQ(evaluated, 1);
}

TEST(CheckDeathTest, NamesFileLineAndCondition) {
  const bool done = true;
  EXPECT_DEATH(DENOISE_DCHECK(!done), ContainsRegex("check_test\\.cc:[0-9]+: check failed: !done"));
}

TEST(CheckDeathTest, TakesConditionsWithCommas) {
  const auto equal = [](int a, int b) { return a == b; };
  EXPECT_DEATH(DENOISE_DCHECK(equal(1, 2)), ContainsRegex("check failed: equal\\(1, 2\\)"));
}

#endif

TEST(CheckDeathTest, AbortsWithAMessageInEveryBuild) {
  EXPECT_DEATH(internal::FailCheck("core/x.cc", 12, "steps > 0"),
               ContainsRegex("core/x\\.cc:12: check failed: steps > 0"));
}

}  // namespace
}  // namespace denoise
