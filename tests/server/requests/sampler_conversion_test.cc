#include "server/requests/sampler_conversion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "core/base/field_violations.h"
#include "core/sampling/options/scheduler_config.h"
#include "core/sampling/samplers/compile_plan.h"
#include "core/sampling/samplers/plan.h"
#include "proto/conversion/sampler_proto.h"
#include "tests/core/sampling/options/overrides_testing.h"
#include "tests/server/test_models.h"

namespace denoise {
namespace {

using ProtoOptions = denoised::v1::SamplerOptions;
using ::testing::ElementsAre;

constexpr int kMaxSteps = 100;

std::vector<std::string> Fields(const absl::Status& status) {
  std::vector<std::string> fields;
  for (const FieldViolation& violation : GetFieldViolations(status)) {
    fields.push_back(violation.field);
  }
  return fields;
}

ResolvedSampler Resolve(const std::function<void(ProtoOptions&)>& set) {
  ProtoOptions request;
  set(request);
  return ResolveSampler(request, *UnconditionalModel()->model, kMaxSteps);
}

TEST(SamplerConversion, NothingAskedIsTheModelsDefault) {
  const ResolvedSampler resolved = Resolve([](ProtoOptions&) {});
  EXPECT_TRUE(resolved.violations.ok());
  EXPECT_EQ(resolved.options.sampler, SamplerKind::kDdpm);
  EXPECT_EQ(resolved.options.steps, 20);
  EXPECT_TRUE(resolved.options.clip_sample);
}

// A model whose scheduler_config.json is `json`.
Model ModelWith(std::string_view json) {
  Model model = *UnconditionalModel()->model;
  model.scheduler = ParseSchedulerConfig(json).value();
  model.schedule = Schedule::Create(model.scheduler.schedule).value();
  model.default_sampler = model.scheduler.sampler;
  return model;
}

absl::Status CompileOn(const Model& model, const std::function<void(ProtoOptions&)>& set) {
  ProtoOptions request;
  set(request);
  const ResolvedSampler resolved = ResolveSampler(request, model, kMaxSteps);
  if (!resolved.violations.ok()) return resolved.violations;
  return CompilePlan(model.schedule, resolved.options).status();
}

TEST(SamplerConversion, ARequestMayChangeWhatTheModelsNoiseScheduleAllows) {
  const Model edm = ModelWith(R"({"_class_name": "EDMEulerScheduler"})");
  const Model flow = ModelWith(R"({"_class_name": "FlowMatchEulerDiscreteScheduler"})");
  const Model v =
      ModelWith(R"({"_class_name": "DDIMScheduler", "prediction_type": "v_prediction"})");
  const auto rho = [](ProtoOptions& r) { r.set_rho(5); };
  const auto shift = [](ProtoOptions& r) { r.set_flow_shift(3); };
  const auto zero_snr = [](ProtoOptions& r) { r.set_rescale_betas_zero_snr(true); };
  EXPECT_TRUE(CompileOn(edm, rho).ok());
  EXPECT_THAT(Fields(CompileOn(edm, shift)), ElementsAre("flow_shift"));
  EXPECT_THAT(Fields(CompileOn(edm, zero_snr)), ElementsAre("rescale_betas_zero_snr"));
  EXPECT_TRUE(CompileOn(flow, shift).ok());
  EXPECT_THAT(Fields(CompileOn(flow, rho)), ElementsAre("rho"));
  EXPECT_TRUE(CompileOn(v, zero_snr).ok());
  EXPECT_THAT(Fields(CompileOn(*UnconditionalModel()->model, zero_snr)),
              ElementsAre("rescale_betas_zero_snr"));
}

TEST(SamplerConversion, ASamplerThatDoesNotSuitTheNoiseScheduleIsNamed) {
  const auto ddpm = [](ProtoOptions& r) { r.set_sampler(denoised::v1::SAMPLER_DDPM); };
  const auto heun = [](ProtoOptions& r) { r.set_sampler(denoised::v1::SAMPLER_HEUN); };
  for (const char* json : {R"({"_class_name": "EDMEulerScheduler"})",
                           R"({"_class_name": "FlowMatchEulerDiscreteScheduler"})"}) {
    EXPECT_TRUE(CompileOn(ModelWith(json), heun).ok());
    EXPECT_THAT(Fields(CompileOn(ModelWith(json), ddpm)), ElementsAre("sampler"));
  }
}

TEST(SamplerConversion, WhatAModelsNoiseScheduleIsMadeOfIsEchoed) {
  const Model edm = ModelWith(R"({"_class_name": "EDMEulerScheduler", "sigma_max": 50})");
  const ProtoOptions echoed =
      SamplerToProto(EffectiveOverrides(ResolveSampler({}, edm, kMaxSteps).options));
  EXPECT_EQ(echoed.sigma_max(), 50);
  EXPECT_EQ(echoed.sigma_min(), 0.002);
  EXPECT_EQ(echoed.rho(), 7);
}

TEST(SamplerConversion, AnotherSamplerCarriesOverWhatMeansTheSame) {
  const ResolvedSampler resolved =
      Resolve([](ProtoOptions& r) { r.set_sampler(denoised::v1::SAMPLER_DDIM); });
  EXPECT_EQ(resolved.options.sampler, SamplerKind::kDdim);
  EXPECT_TRUE(resolved.options.clip_sample);
  EXPECT_EQ(resolved.options.eta, 0);
}

TEST(SamplerConversion, WhatIsSetOverridesTheDefault) {
  const ResolvedSampler resolved = Resolve([](ProtoOptions& r) {
    r.set_sampler(denoised::v1::SAMPLER_UNIPC);
    r.set_steps(7);
    r.set_solver_order(3);
    r.set_solver_type(denoised::v1::SOLVER_TYPE_BH1);
    r.set_sigma_spacing(denoised::v1::SIGMA_SPACING_KARRAS);
    r.set_final_sigma(denoised::v1::FINAL_SIGMA_SIGMA_MIN);
    r.set_lower_order_final(false);
    r.add_disable_corrector(0);
    r.set_thresholding(true);
    r.set_sample_max_value(2);
  });
  EXPECT_TRUE(resolved.violations.ok()) << resolved.violations;
  const SamplerOptions& options = resolved.options;
  EXPECT_EQ(options.sampler, SamplerKind::kUniPc);
  EXPECT_EQ(options.steps, 7);
  EXPECT_EQ(options.solver_order, 3);
  EXPECT_EQ(options.solver_type, SolverType::kBh1);
  EXPECT_EQ(options.sigma_spacing, SigmaSpacing::kKarras);
  EXPECT_EQ(options.final_sigma, FinalSigma::kSigmaMin);
  EXPECT_FALSE(options.lower_order_final);
  EXPECT_THAT(options.disable_corrector, ElementsAre(0));
  EXPECT_TRUE(options.thresholding);
  EXPECT_EQ(options.sample_max_value, 2);
}

TEST(SamplerConversion, WhatTheCoreRefusesIsRefused) {
  for (const RefusedOverrides& refused : OverridesToRefuse()) {
    const ResolvedSampler resolved =
        ResolveSampler(SamplerToProto(refused.overrides), *UnconditionalModel()->model, 1000);
    EXPECT_EQ(GetFieldViolations(resolved.violations), refused.violations);
  }
}

TEST(SamplerConversion, WithoutASamplerTheOptionsAreTheDefaultsOne) {
  EXPECT_THAT(Fields(Resolve([](ProtoOptions& r) { r.set_solver_order(2); }).violations),
              ElementsAre("solver_order"));  // the default is DDPM
}

TEST(SamplerConversion, MoreTimestepsThanStepsAllowedAreRefusedUnread) {
  const ResolvedSampler resolved = Resolve([](ProtoOptions& r) {
    for (int i = 0; i <= kMaxSteps; ++i) r.add_timesteps(999 - i);
  });
  EXPECT_THAT(Fields(resolved.violations), ElementsAre("timesteps"));
  EXPECT_TRUE(resolved.options.timesteps.empty());
}

TEST(SamplerConversion, UnknownEnumNumbersAreRefused) {
  EXPECT_THAT(Fields(Resolve([](ProtoOptions& r) {
                       r.set_timestep_spacing(static_cast<denoised::v1::TimestepSpacing>(77));
                     }).violations),
              ElementsAre("timestep_spacing"));
  EXPECT_THAT(Fields(Resolve([](ProtoOptions& r) {
                       r.set_variance_type(static_cast<denoised::v1::VarianceType>(-5));
                     }).violations),
              ElementsAre("variance_type"));
}

// What `accepted` says can be asked for again, and gives the same plan.
class EchoTest : public testing::TestWithParam<std::function<void(ProtoOptions&)>> {};

TEST_P(EchoTest, ResolvesToTheSamePlan) {
  const ModelHandle model = UnconditionalModel()->model;
  const ResolvedSampler first = Resolve(GetParam());
  ASSERT_TRUE(first.violations.ok()) << first.violations;
  const ResolvedSampler second =
      ResolveSampler(SamplerToProto(EffectiveOverrides(first.options)), *model, kMaxSteps);
  ASSERT_TRUE(second.violations.ok()) << second.violations;
  const auto first_plan = CompilePlan(model->schedule, first.options);
  const auto second_plan = CompilePlan(model->schedule, second.options);
  ASSERT_TRUE(first_plan.ok()) << first_plan.status();
  ASSERT_TRUE(second_plan.ok()) << second_plan.status();
  EXPECT_EQ(PlanToJson(*first_plan), PlanToJson(*second_plan));
}

INSTANTIATE_TEST_SUITE_P(
    Samplers, EchoTest,
    testing::Values([](ProtoOptions&) {},
                    [](ProtoOptions& r) {
                      for (double timestep : {900.0, 500.0, 20.0}) r.add_timesteps(timestep);
                    },
                    [](ProtoOptions& r) {
                      r.set_sampler(denoised::v1::SAMPLER_DDIM);
                      r.set_eta(0.5);
                      r.set_use_clipped_model_output(true);
                      r.set_clip_sample_range(1.5);
                    },
                    [](ProtoOptions& r) {
                      r.set_sampler(denoised::v1::SAMPLER_DDPM);
                      r.set_variance_type(denoised::v1::VARIANCE_TYPE_FIXED_LARGE);
                      r.set_thresholding(true);
                      r.set_dynamic_thresholding_ratio(0.9);
                    },
                    [](ProtoOptions& r) { r.set_sampler(denoised::v1::SAMPLER_DPM_SOLVER); },
                    [](ProtoOptions& r) {
                      r.set_sampler(denoised::v1::SAMPLER_DPMPP);
                      r.set_sigma_spacing(denoised::v1::SIGMA_SPACING_FLOW);
                      r.set_flow_shift(3);
                    },
                    [](ProtoOptions& r) {
                      r.set_sampler(denoised::v1::SAMPLER_DPMPP);
                      r.set_solver_order(3);
                      r.set_corrected_third_order(true);
                    },
                    [](ProtoOptions& r) {
                      r.set_sampler(denoised::v1::SAMPLER_DPMPP_SDE);
                      r.set_solver_type(denoised::v1::SOLVER_TYPE_HEUN);
                      r.set_final_sigma(denoised::v1::FINAL_SIGMA_SIGMA_MIN);
                      r.set_euler_at_final(true);
                    },
                    [](ProtoOptions& r) {
                      r.set_sampler(denoised::v1::SAMPLER_UNIPC);
                      r.set_solver_order(3);
                      r.add_disable_corrector(0);
                      r.add_disable_corrector(2);
                    }));

}  // namespace
}  // namespace denoise
