#include "core/base/field_violations.h"

#include <gmock/gmock.h>

namespace denoise {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(FieldViolations, NoneIsOk) {
  const FieldViolations violations;
  EXPECT_TRUE(violations.empty());
  EXPECT_TRUE(violations.ToStatus().ok());
}

TEST(FieldViolations, KeepTheirOrderInAStatus) {
  FieldViolations violations;
  violations.Add("steps", "must be between 1 and 1000, is 0");
  violations.Add("timesteps[3]", "");
  const absl::Status status = violations.ToStatus();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(std::string(status.message()),
            "steps: must be between 1 and 1000, is 0; timesteps[3]: ");
  EXPECT_THAT(GetFieldViolations(status),
              ElementsAre(FieldViolation{"steps", "must be between 1 and 1000, is 0"},
                          FieldViolation{"timesteps[3]", ""}));
}

TEST(FieldViolations, KeepNoMoreThanAnyoneReads) {
  FieldViolations violations;
  for (int i = 0; i < 1'000'000; ++i) violations.Add("kinds", "must be known");
  EXPECT_EQ(violations.violations().size(), FieldViolations::kMax + 1);
  EXPECT_EQ(violations.violations().back().description,
            "there are more violations, which are not listed");
  FieldViolations outer;
  outer.AddAll("frames.", violations.ToStatus());
  outer.AddAll("frames.", violations.ToStatus());
  EXPECT_EQ(outer.violations().size(), FieldViolations::kMax + 1);
}

TEST(FieldViolations, IncludeNumbersOutOfRange) {
  FieldViolations violations;
  for (const int64_t value : {0, 1, 4, 5}) violations.CheckRange("count", value, 1, 4);
  for (const int64_t value : {6, 7}) violations.CheckAtLeast("steps", value, 7);
  EXPECT_EQ(violations.violations(),
            (std::vector<FieldViolation>{{"count", "must be between 1 and 4, is 0"},
                                         {"count", "must be between 1 and 4, is 5"},
                                         {"steps", "must be at least 7, is 6"}}));
}

TEST(FieldViolations, GetThePrefixOfTheEmbeddingMessage) {
  FieldViolations inner;
  inner.Add("eta", "must not be negative");
  inner.Add("steps", "is 0");
  FieldViolations outer;
  outer.Add("model", "is empty");
  outer.AddAll("sampler.", inner.ToStatus());
  outer.AddAll("sampler.", absl::OkStatus());
  EXPECT_THAT(outer.violations(), ElementsAre(FieldViolation{"model", "is empty"},
                                              FieldViolation{"sampler.eta", "must not be negative"},
                                              FieldViolation{"sampler.steps", "is 0"}));
}

TEST(FieldViolations, AnErrorWithoutViolationsIsAViolationOfThePrefix) {
  FieldViolations violations;
  violations.AddAll("sampler.", absl::InvalidArgumentError("unknown sampler"));
  EXPECT_THAT(violations.violations(), ElementsAre(FieldViolation{"sampler", "unknown sampler"}));
}

TEST(FieldViolations, OtherStatusesHaveNone) {
  EXPECT_THAT(GetFieldViolations(absl::OkStatus()), IsEmpty());
  EXPECT_THAT(GetFieldViolations(absl::InvalidArgumentError("steps: is 0")), IsEmpty());
}

TEST(FieldViolations, HostileNamesStayInTheirOwnViolation) {
  FieldViolations violations;
  violations.Add(std::string("a\0b", 3), std::string("\0c", 2));
  violations.Add("d", "e");
  EXPECT_THAT(GetFieldViolations(violations.ToStatus()),
              ElementsAre(FieldViolation{"a?b", "?c"}, FieldViolation{"d", "e"}));
}

TEST(InvalidField, IsOneViolation) {
  EXPECT_THAT(GetFieldViolations(InvalidField("seed", "is too large")),
              ElementsAre(FieldViolation{"seed", "is too large"}));
}

}  // namespace
}  // namespace denoise
