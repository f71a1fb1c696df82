// Every plan against the same run of the diffusers library.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "core/sampling/options/scheduler_config.h"
#include "core/sampling/samplers/compile_plan.h"
#include "tests/core/sampling/samplers/plan_replay.h"
#include "tests/core/sampling/samplers/reference_case.h"
#include "tests/core/sampling/samplers/reference_noise.h"

namespace denoise {
namespace {

constexpr double kTolerance = 1e-4;

absl::StatusOr<SamplerPlan> CompileReference(const ReferenceCase& reference) {
  absl::StatusOr<SchedulerConfig> config = ParseSchedulerConfig(reference.SchedulerConfig());
  if (!config.ok()) return config.status();
  const nlohmann::json& run = reference.run;
  SamplerOptions options = config->sampler;
  options.timesteps = reference.Numbers("custom_timesteps");
  if (options.timesteps.empty()) options.steps = run.at("num_inference_steps");
  const nlohmann::json& step = run.at("step_kwargs");
  options.eta = step.value("eta", 0.0);
  options.use_clipped_model_output = step.value("use_clipped_model_output", false);
  options.s_churn = step.value("s_churn", options.s_churn);
  options.s_tmin = step.value("s_tmin", options.s_tmin);
  options.s_tmax = step.value("s_tmax", options.s_tmax);
  options.s_noise = step.value("s_noise", options.s_noise);
  const nlohmann::json& spacing = run.at("set_timesteps_kwargs");
  if (spacing.contains("mu")) options.flow_shift = std::exp(spacing.at("mu").get<double>());
  absl::StatusOr<Schedule> schedule = Schedule::Create(config->schedule);
  if (!schedule.ok()) return schedule.status();
  return CompilePlan(*schedule, options);
}

Replayed ReplayReference(const SamplerPlan& plan) {
  Values sample = ReferenceSample();
  for (double& value : sample) value *= plan.init_noise_scale;
  ReferenceNoise noise(0);
  return ReplayPlan(plan, {sample},
                    {.network = ReferenceNetwork,
                     .noise = [&](size_t) { return noise.Draw(); },
                     .image_size = kReferenceImageSize});
}

// The sigmas as the library lists them: of x / alpha, or of the flow.
std::vector<double> Sigmas(const SamplerPlan& plan, bool flow) {
  std::vector<double> sigmas;
  for (const Evaluation& e : plan.evaluations) sigmas.push_back(flow ? e.sigma : e.sigma / e.alpha);
  sigmas.push_back(flow ? plan.final_sigma : plan.final_sigma / plan.final_alpha);
  return sigmas;
}

// Element by element, relative to the larger of the value and `scale`.
void ExpectNear(const std::vector<double>& actual, const std::vector<double>& expected,
                double scale, const char* what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  for (size_t i = 0; i < actual.size(); ++i) {
    EXPECT_NEAR(actual[i], expected[i], kTolerance * std::max(std::abs(expected[i]), scale))
        << what << " " << i;
  }
}

// Run 7 takes 250 steps of DDPM over the cosine schedule. The library forms 1 - alphas_cumprod[t] /
// alphas_cumprod[prev] in float32, where near t = 0 few digits are left of it; with that rounding
// put into our coefficients every value agrees to 1e-4, without it single pixels stray a little
// further.
double PixelTolerance(const ReferenceCase& reference) { return reference.index == 7 ? 2 : 1; }

// What float32 leaves where a step cancels everything out, as the last one does in a run of Euler
// or Heun that predicts the sample: the network says 0 at timestep 0, and the library, which moves
// there by a difference, arrives at 1e-9 a pixel.
double RoundingError(const ReferenceCase& reference) {
  constexpr double kEpsilon = std::numeric_limits<float>::epsilon();
  const std::vector<double> abs_sums = reference.Numbers("per_step_abs_sum");
  return abs_sums.size() < 2 ? 0 : kEpsilon * abs_sums[abs_sums.size() - 2];
}

class ReferenceSamplers : public testing::TestWithParam<ReferenceCase> {};

TEST_P(ReferenceSamplers, AgreeWithTheLibrary) {
  const ReferenceCase& reference = GetParam();
  const absl::StatusOr<SamplerPlan> plan = CompileReference(reference);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->NeedsLearnedVariance(), reference.learned_variance());
  ExpectNear({plan->init_noise_scale}, {reference.run.at("init_noise_sigma")}, 0,
             "init_noise_sigma");

  std::vector<double> timesteps;
  for (const Evaluation& evaluation : plan->evaluations) timesteps.push_back(evaluation.timestep);
  if (!reference.run.at("timesteps").is_null()) {
    ExpectNear(timesteps, reference.Numbers("timesteps"), 1, "timestep");  // may be fractional
  }
  if (!reference.run.at("sigmas").is_null()) {
    const bool flow = reference.name().starts_with("FlowMatch") ||
                      reference.run.at("config").value("use_flow_sigmas", false);
    ExpectNear(Sigmas(*plan, flow), reference.Numbers("sigmas"), 0, "sigma");
  }

  const Replayed replayed = ReplayReference(*plan);
  const Values& x = replayed.slots[0];
  const double abs_sum =
      std::max(reference.run.at("abs_sum").get<double>(), RoundingError(reference) / kTolerance);
  const double mean_magnitude = PixelTolerance(reference) * abs_sum / static_cast<double>(x.size());
  ExpectNear({AbsSum(x)}, {reference.run.at("abs_sum")}, abs_sum, "abs_sum");
  // Positive and negative terms cancel in these two: their error is that of the terms.
  ExpectNear({std::accumulate(x.begin(), x.end(), 0.0)}, {reference.run.at("sum")}, abs_sum, "sum");
  ExpectNear({CosDot(x)}, {reference.run.at("cos_dot")}, abs_sum, "cos_dot");
  ExpectNear({x.begin(), x.begin() + 8}, reference.Numbers("first8"), mean_magnitude, "first8");
  ExpectNear({x.end() - 4, x.end()}, reference.Numbers("last4"), mean_magnitude, "last4");
  if (!reference.run.at("per_step_abs_sum").is_null()) {
    ExpectNear(replayed.abs_sums, reference.Numbers("per_step_abs_sum"),
               RoundingError(reference) / kTolerance, "abs_sum after step");
  }
}

INSTANTIATE_TEST_SUITE_P(All, ReferenceSamplers, testing::ValuesIn(LoadReferenceCases()),
                         [](const auto& instance) { return instance.param.name(); });

TEST(ReferenceSamplers, CoverEveryClass) {
  std::map<std::string, int> counts;
  for (const ReferenceCase& reference : LoadReferenceCases())
    ++counts[reference.run.at("scheduler")];
  EXPECT_THAT(counts,
              testing::ElementsAre(
                  testing::Pair("DDIMScheduler", 19), testing::Pair("DDPMScheduler", 15),
                  testing::Pair("DEISMultistepScheduler", 5),
                  testing::Pair("DPMSolverMultistepScheduler", 29),
                  testing::Pair("DPMSolverSinglestepScheduler", 5),
                  testing::Pair("EDMDPMSolverMultistepScheduler", 19),
                  testing::Pair("EDMEulerScheduler", 7),
                  testing::Pair("EulerAncestralDiscreteScheduler", 5),
                  testing::Pair("EulerDiscreteScheduler", 11),
                  testing::Pair("FlowMatchEulerDiscreteScheduler", 9),
                  testing::Pair("HeunDiscreteScheduler", 9), testing::Pair("LCMScheduler", 5),
                  testing::Pair("PNDMScheduler", 3), testing::Pair("UniPCMultistepScheduler", 14)));
}

TEST(ReferenceNoise, IsTheStreamOfTheReferenceValues) {
  const nlohmann::json rng = LoadReferenceFile().at("rng");
  ReferenceNoise noise(0);
  const Values first = noise.Draw();
  const Values second = noise.Draw();
  ExpectNear({first.begin(), first.begin() + 8},
             rng.at("torch.manual_seed(0); randn(4,3,8,8) first8"), 0, "first");
  ExpectNear({second.begin(), second.begin() + 4}, rng.at("next randn first4"), 0, "second");
}

}  // namespace
}  // namespace denoise
