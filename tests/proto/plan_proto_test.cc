#include "proto/conversion/plan_proto.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "core/sampling/options/option_names.h"
#include "core/sampling/options/sampler_families.h"
#include "core/sampling/samplers/compile_plan.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

SamplerPlan Compile(const SamplerOptions& options) {
  return CompilePlan(Schedule::Create({}).value(), options).value();
}

// The JSON has every number of a plan, with all of its digits.
void ExpectThereAndBack(const SamplerOptions& options) {
  const SamplerPlan plan = Compile(options);
  const absl::StatusOr<SamplerPlan> back = PlanFromProto(PlanToProto(plan));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(PlanToJson(*back), PlanToJson(plan));
}

TEST(PlanProto, EveryNumberOfEverySamplerGoesThereAndBack) {
  for (const auto& [name, sampler] : kNames<SamplerKind>) {
    if (!SuitsFamily(sampler, ScheduleFamily::kVariancePreserving)) continue;
    SCOPED_TRACE(name);
    ExpectThereAndBack({.sampler = sampler, .steps = 5, .eta = 0.3, .s_churn = 2});
  }
}

TEST(PlanProto, EveryKindOfClipGoesThereAndBack) {
  ExpectThereAndBack({.sampler = SamplerKind::kDdim, .clip_sample = true, .clip_sample_range = 2});
  ExpectThereAndBack({.thresholding = true, .sample_max_value = 1.5});
}

TEST(PlanProto, EveryKindOfNoiseGoesThereAndBack) {
  for (const auto& [name, variance] : kNames<VarianceType>) {
    SCOPED_TRACE(name);
    ExpectThereAndBack({.sampler = SamplerKind::kDdpm, .variance_type = variance});
  }
}

TEST(PlanProto, NoNoiseIsSaidAndNotLeftOut) {
  const v1::SamplerPlan message = PlanToProto(Compile({.sampler = SamplerKind::kDdim}));
  EXPECT_EQ(message.evaluations(0).noise_case(), v1::PlannedEvaluation::kNoiseScale);
}

TEST(PlanProto, WhatIsNoPlanIsRefused) {
  const std::vector<std::function<void(v1::SamplerPlan&)>> spoils = {
      [](v1::SamplerPlan& plan) { plan.set_slots(0); },
      [](v1::SamplerPlan& plan) { plan.set_slots(1 << 30); },
      [](v1::SamplerPlan& plan) { plan.clear_evaluations(); },
      [](v1::SamplerPlan& plan) { plan.mutable_evaluations(1)->add_update(0); },
      [](v1::SamplerPlan& plan) { plan.mutable_evaluations(1)->clear_update(); },
      [](v1::SamplerPlan& plan) { plan.mutable_evaluations(1)->clear_noise(); },
  };
  for (const auto& spoil : spoils) {
    v1::SamplerPlan message = PlanToProto(Compile({}));
    spoil(message);
    EXPECT_EQ(PlanFromProto(message).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace denoise
