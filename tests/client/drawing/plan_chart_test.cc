#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <vector>

#include "client/drawing/drawing.h"
#include "core/image/image.h"
#include "core/sampling/options/option_names.h"
#include "core/sampling/options/sampler_families.h"
#include "core/sampling/options/scheduler_config.h"
#include "core/sampling/samplers/compile_plan.h"

namespace denoise {
namespace {

constexpr int kBlue[] = {0, 115, 179};
constexpr int kOrange[] = {214, 94, 0};

NamedPlan Plan(SamplerKind sampler, int steps = 6) {
  SamplerOptions options = ClassDefaults(sampler);
  options.steps = steps;
  return {std::string(SamplerName(sampler)),
          CompilePlan(Schedule::Create({}).value(), options).value()};
}

Image Draw(const std::vector<NamedPlan>& plans) {
  const absl::StatusOr<std::string> png = DrawPlans(plans, FileKind::kPng);
  EXPECT_TRUE(png.ok()) << png.status();
  return DecodeImage(*png, 1 << 24).value();
}

// Pixels of a color, but for rounding.
int Count(const Image& image, const int (&color)[3]) {
  int count = 0;
  for (size_t i = 0; i < image.pixels.size(); i += image.channels) {
    bool same = true;
    for (int c = 0; c < 3; ++c) same &= std::abs(image.pixels[i + c] - color[c]) <= 1;
    count += same;
  }
  return count;
}

TEST(PlanChart, EveryPlanHasItsOwnColor) {
  const Image one = Draw({Plan(SamplerKind::kDdim)});
  EXPECT_GT(Count(one, kBlue), 500);
  EXPECT_EQ(Count(one, kOrange), 0);
  const Image two = Draw({Plan(SamplerKind::kDdim, 3), Plan(SamplerKind::kHeun)});
  EXPECT_GT(Count(two, kBlue), 500);
  EXPECT_GT(Count(two, kOrange), 500);
  EXPECT_GT(two.height, one.height);  // a line more in the legend
}

TEST(PlanChart, CurvesStayWithinTheirPanels) {
  Image image = Draw({Plan(SamplerKind::kDdim)});
  const size_t below_the_panels = size_t{1} * image.width * image.channels * 40;
  image.pixels.erase(image.pixels.begin(), image.pixels.end() - below_the_panels);
  EXPECT_EQ(Count(image, kBlue), 0);
}

TEST(PlanChart, MoreEvaluationsAreMoreMarks) {
  EXPECT_GT(Count(Draw({Plan(SamplerKind::kDdim, 20)}), kBlue),
            Count(Draw({Plan(SamplerKind::kDdim, 5)}), kBlue) + 3 * 15 * 20);
}

TEST(PlanChart, EverySamplerCanBeDrawnHoweverFewItsSteps) {
  for (const auto& [name, sampler] : kNames<SamplerKind>) {
    if (!SuitsFamily(sampler, ScheduleFamily::kVariancePreserving)) continue;
    for (const int steps : {1, 50})
      EXPECT_GT(Count(Draw({Plan(sampler, steps)}), kBlue), 100) << name;
  }
}

TEST(PlanChart, AnSvgHoldsTheSameAsLines) {
  const std::vector<NamedPlan> plans = {Plan(SamplerKind::kDdim)};
  const absl::StatusOr<std::string> svg = DrawPlans(plans, FileKind::kSvg);
  ASSERT_TRUE(svg.ok()) << svg.status();
  EXPECT_THAT(*svg, testing::StartsWith("<?xml"));
  EXPECT_THAT(*svg, testing::HasSubstr("</svg>"));
}

TEST(PlanChart, RefusesWhatCannotBeTold) {
  const std::vector<NamedPlan> many(kMaxChartedLines + 1, Plan(SamplerKind::kDdim));
  for (const std::vector<NamedPlan>& plans : {{}, many, {NamedPlan{"nothing", {}}}}) {
    EXPECT_TRUE(absl::IsInvalidArgument(DrawPlans(plans, FileKind::kPng).status()));
  }
}

}  // namespace
}  // namespace denoise
