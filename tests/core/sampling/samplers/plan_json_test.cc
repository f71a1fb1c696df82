#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "core/sampling/options/option_names.h"
#include "core/sampling/options/sampler_families.h"
#include "core/sampling/samplers/compile_plan.h"
#include "core/sampling/samplers/plan.h"

namespace denoise {
namespace {

SamplerPlan Compile(const SamplerOptions& options) {
  return CompilePlan(Schedule::Create({}).value(), options).value();
}

nlohmann::json Json(const SamplerPlan& plan) { return nlohmann::json::parse(PlanToJson(plan)); }

TEST(PlanToJson, GivesBackEveryNumberBitForBit) {
  for (const auto& [name, sampler] : kNames<SamplerKind>) {
    if (!SuitsFamily(sampler, ScheduleFamily::kVariancePreserving)) continue;
    const SamplerPlan plan = Compile({.sampler = sampler, .steps = 7, .eta = 0.3});
    const nlohmann::json json = Json(plan);
    EXPECT_EQ(json.at("init_noise_scale"), plan.init_noise_scale);
    EXPECT_EQ(json.at("slots"), plan.slots);
    EXPECT_EQ(json.at("final_alpha"), plan.final_alpha);
    EXPECT_EQ(json.at("final_sigma"), plan.final_sigma);
    ASSERT_EQ(json.at("evaluations").size(), plan.evaluations.size());
    for (size_t i = 0; i < plan.evaluations.size(); ++i) {
      const nlohmann::json& written = json.at("evaluations").at(i);
      const Evaluation& evaluation = plan.evaluations[i];
      EXPECT_EQ(written.at("timestep"), evaluation.timestep);
      EXPECT_EQ(written.at("input_scale"), evaluation.input_scale);
      EXPECT_EQ(written.at("x0_from_state"), evaluation.x0_from_state);
      EXPECT_EQ(written.at("x0_from_output"), evaluation.x0_from_output);
      EXPECT_EQ(written.at("noise_scale"), std::get<double>(evaluation.noise));
      EXPECT_EQ(written.at("alpha"), evaluation.alpha);
      EXPECT_EQ(written.at("sigma"), evaluation.sigma);
      EXPECT_EQ(written.at("ends_step"), evaluation.ends_step);
      ASSERT_EQ(written.at("update").size(), static_cast<size_t>(plan.slots)) << name;
      for (int row = 0; row < plan.slots; ++row) {
        ASSERT_EQ(written.at("update").at(row).size(), static_cast<size_t>(plan.slots + 2));
        for (int column = 0; column < plan.slots + 2; ++column) {
          EXPECT_EQ(written.at("update").at(row).at(column), evaluation.update(row, column));
        }
      }
    }
  }
}

TEST(PlanToJson, WritesEveryKindOfClip) {
  const auto clip = [](const SamplerOptions& options) {
    return Json(Compile(options)).at("evaluations").at(0).at("clip");
  };
  EXPECT_EQ(clip({.sampler = SamplerKind::kDdim}), nullptr);
  EXPECT_EQ(clip({.sampler = SamplerKind::kDdim, .clip_sample = true, .clip_sample_range = 2}),
            nlohmann::json({{"min", -2.0}, {"max", 2.0}}));
  EXPECT_EQ(
      clip({.thresholding = true, .dynamic_thresholding_ratio = 0.9, .sample_max_value = 1.5}),
      nlohmann::json({{"dynamic_ratio", 0.9}, {"max_value", 1.5}}));
}

TEST(PlanToJson, WritesEveryKindOfNoise) {
  const auto noise = [](VarianceType type) {
    return Json(Compile({.sampler = SamplerKind::kDdpm, .variance_type = type}))
        .at("evaluations")
        .at(0)
        .at("noise_scale");
  };
  EXPECT_TRUE(noise(VarianceType::kFixedSmall).is_number());
  EXPECT_EQ(noise(VarianceType::kLearned), nlohmann::json({{"kind", "variance"}}));
  const nlohmann::json range = noise(VarianceType::kLearnedRange);
  EXPECT_EQ(range.size(), 2u);
  EXPECT_LT(range.at("log_variance_min"), range.at("log_variance_max"));
}

}  // namespace
}  // namespace denoise
