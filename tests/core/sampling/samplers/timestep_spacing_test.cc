#include "core/sampling/samplers/timestep_spacing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "core/base/field_violations.h"

namespace denoise {
namespace {

using testing::ElementsAre;
using testing::Field;

SamplerOptions Options(TimestepSpacing spacing, int steps, int steps_offset = 0) {
  return {.steps = steps, .timestep_spacing = spacing, .steps_offset = steps_offset};
}

// DDPM and DDIM.
std::vector<double> Ancestral(const SamplerOptions& options, int timesteps = 1000) {
  return SpaceTimesteps({timesteps, timesteps, false}, options).value();
}

// The multistep solvers.
std::vector<double> Solver(const SamplerOptions& options, int end = 1000, int timesteps = 1000) {
  return SpaceTimesteps({timesteps, end, true}, options).value();
}

TEST(SpaceTimesteps, LeadingCountsUpFromZero) {
  EXPECT_THAT(Ancestral(Options(TimestepSpacing::kLeading, 4)), ElementsAre(750, 500, 250, 0));
  EXPECT_THAT(Ancestral(Options(TimestepSpacing::kLeading, 4, 1)), ElementsAre(751, 501, 251, 1));
  EXPECT_THAT(Solver(Options(TimestepSpacing::kLeading, 4)), ElementsAre(800, 600, 400, 200));
}

TEST(SpaceTimesteps, TrailingCountsDownFromTheEnd) {
  EXPECT_THAT(Ancestral(Options(TimestepSpacing::kTrailing, 4)), ElementsAre(999, 749, 499, 249));
  EXPECT_THAT(Solver(Options(TimestepSpacing::kTrailing, 4)), ElementsAre(999, 749, 499, 249));
}

TEST(SpaceTimesteps, LinspaceReachesBothEnds) {
  EXPECT_THAT(Ancestral(Options(TimestepSpacing::kLinspace, 3)), ElementsAre(999, 500, 0));
  EXPECT_THAT(Solver(Options(TimestepSpacing::kLinspace, 3)), ElementsAre(999, 666, 333));
}

// The case is M8. A solver lays out one point more than there are steps.
TEST(SpaceTimesteps, LinspaceListsEachTimestepOnce) {
  for (const int timesteps : {10, 100, 1000}) {
    std::vector<double> down;
    for (int t = timesteps - 1; t > 0; --t) down.push_back(t);
    EXPECT_EQ(Solver(Options(TimestepSpacing::kLinspace, timesteps), timesteps, timesteps), down);
  }
  // lambda_min_clipped leaves fewer timesteps than steps.
  EXPECT_THAT(Solver(Options(TimestepSpacing::kLinspace, 9), 4, 10), ElementsAre(3, 2, 1, 0));
}

TEST(SpaceTimesteps, RoundsHalvesToTheEvenNeighbour) {
  EXPECT_THAT(Ancestral(Options(TimestepSpacing::kLinspace, 3), 10), ElementsAre(9, 4, 0));
  EXPECT_THAT(Ancestral(Options(TimestepSpacing::kLinspace, 3), 12), ElementsAre(11, 6, 0));
}

TEST(SpaceTimesteps, FractionalLinspaceIsNotRounded) {
  const auto timesteps = SpaceTimesteps({1000, 1000, /*leave_out_last=*/false, /*fractional=*/true},
                                        Options(TimestepSpacing::kLinspace, 5));
  EXPECT_THAT(timesteps.value(), ElementsAre(999, 749.25, 499.5, 249.75, 0));
}

TEST(SpaceTimesteps, TakesOneStep) {
  EXPECT_THAT(Ancestral(Options(TimestepSpacing::kLeading, 1)), ElementsAre(0));
  EXPECT_THAT(Ancestral(Options(TimestepSpacing::kTrailing, 1)), ElementsAre(999));
  EXPECT_THAT(Ancestral(Options(TimestepSpacing::kLinspace, 1)), ElementsAre(0));
  EXPECT_THAT(Solver(Options(TimestepSpacing::kLinspace, 1)), ElementsAre(999));
  EXPECT_THAT(Ancestral(Options(TimestepSpacing::kLinspace, 1), 1), ElementsAre(0));
}

TEST(SpaceTimesteps, GivesExactlyOneTimestepPerStep) {
  for (int steps = 1; steps <= 1000; ++steps) {
    for (TimestepSpacing spacing :
         {TimestepSpacing::kLeading, TimestepSpacing::kTrailing, TimestepSpacing::kLinspace}) {
      const std::vector<double> timesteps = Ancestral(Options(spacing, steps));
      ASSERT_EQ(timesteps.size(), static_cast<size_t>(steps));
      ASSERT_GE(timesteps.back(), 0);
      ASSERT_LE(timesteps.front(), 999);
      ASSERT_TRUE(std::is_sorted(timesteps.rbegin(), timesteps.rend()));
      ASSERT_EQ(std::adjacent_find(timesteps.begin(), timesteps.end()), timesteps.end()) << steps;
    }
  }
}

TEST(SpaceTimesteps, KeepsTheStrideOfTrailingInAShorterRange) {
  EXPECT_THAT(Solver(Options(TimestepSpacing::kTrailing, 4), 900), ElementsAre(899, 649, 399, 149));
  EXPECT_THAT(Solver(Options(TimestepSpacing::kTrailing, 4), 500), ElementsAre(499, 249));
  EXPECT_THAT(Solver(Options(TimestepSpacing::kLinspace, 4), 901), ElementsAre(900, 675, 450, 225));
}

TEST(SpaceTimesteps, RefusesAnOffsetPastTheEnd) {
  EXPECT_TRUE(SpaceTimesteps({1000, 1000, false}, Options(TimestepSpacing::kLeading, 10, 99)).ok());
  const auto status =
      SpaceTimesteps({1000, 1000, false}, Options(TimestepSpacing::kLeading, 10, 100)).status();
  EXPECT_THAT(GetFieldViolations(status),
              ElementsAre(Field(&FieldViolation::field, "steps_offset")));
  const auto huge =
      SpaceTimesteps({1000, 1000, false}, Options(TimestepSpacing::kLeading, 10, 2147483647));
  EXPECT_FALSE(huge.ok());
}

TEST(SpaceTimesteps, RefusesMoreLeadingStepsThanTheRangeHas) {
  const auto status =
      SpaceTimesteps({1000, 1000, true}, Options(TimestepSpacing::kLeading, 1000)).status();
  EXPECT_THAT(GetFieldViolations(status), ElementsAre(Field(&FieldViolation::field, "steps")));
}

TEST(SectionTimesteps, TakesTheGivenNumberFromEachSection) {
  EXPECT_THAT(SectionTimesteps(10, {5}).value(), ElementsAre(9, 7, 4, 2, 0));
  // Sections [0, 4), [4, 7) and [7, 10).
  EXPECT_THAT(SectionTimesteps(10, {2, 3, 1}).value(), ElementsAre(7, 6, 5, 4, 3, 0));
}

TEST(SectionTimesteps, RefusesMoreThanASectionHas) {
  EXPECT_THAT(GetFieldViolations(SectionTimesteps(10, {2, 4, 1}).status()),
              ElementsAre(Field(&FieldViolation::field, "counts[1]")));
  EXPECT_THAT(GetFieldViolations(SectionTimesteps(10, {5, 0}).status()),
              ElementsAre(Field(&FieldViolation::field, "counts[1]")));
  EXPECT_THAT(GetFieldViolations(SectionTimesteps(10, {}).status()),
              ElementsAre(Field(&FieldViolation::field, "counts")));
  EXPECT_THAT(GetFieldViolations(SectionTimesteps(2, {1, 1, 1}).status()),
              ElementsAre(Field(&FieldViolation::field, "counts")));
}

}  // namespace
}  // namespace denoise
