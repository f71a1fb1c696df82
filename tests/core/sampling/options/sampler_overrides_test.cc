#include "core/sampling/options/sampler_overrides.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>
#include <string>

#include "core/sampling/options/option_names.h"
#include "core/sampling/options/option_table.h"
#include "core/sampling/options/scheduler_config.h"
#include "core/sampling/samplers/compile_plan.h"
#include "tests/core/sampling/options/overrides_testing.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr int kMaxSteps = 1000;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Over the defaults of the sampler that `overrides` names.
ResolvedSampler Apply(const SamplerOverrides& overrides) {
  return ApplyOverrides(ClassDefaults(overrides.sampler.value()), overrides, kMaxSteps);
}

TEST(OptionTable, EveryOptionHasAUniqueNameAndAReader) {
  std::set<std::string_view> names;
  ForEachOption([&](const auto& option) {
    EXPECT_TRUE(names.insert(option.name).second) << option.name;
    EXPECT_STRNE(option.help, "") << option.name;
    bool read = false;
    for (const auto& [name, sampler] : kNames<SamplerKind>) {
      read = read || option.IsReadBy(sampler);
    }
    EXPECT_TRUE(read) << option.name;
  });
}

// A member that is added to SamplerOverrides breaks the structured binding here until it is
// counted; then it needs a line in the table, which the next test ties to one member.
TEST(OptionTable, HasALineForEveryMember) {
  const SamplerOverrides overrides;
  const auto& [sampler, steps, timesteps, sigmas, prediction_type, timestep_spacing, steps_offset,
               clip_sample, clip_sample_range, thresholding, dynamic_thresholding_ratio,
               sample_max_value, variance_type, eta, use_clipped_model_output, set_alpha_to_one,
               step_to_listed_timestep, original_inference_steps, timestep_scaling, solver_order,
               solver_type, lower_order_final, euler_at_final, final_sigma, sigma_spacing,
               flow_shift, sigma_min, sigma_max, rho, rescale_betas_zero_snr, interpolation_type,
               timestep_type, lambda_min_clipped, disable_corrector, s_churn, s_tmin, s_tmax,
               s_noise, noise_temperature, corrected_third_order, predict_x0] = overrides;
  const std::set<const void*> members = {&sampler,
                                         &steps,
                                         &timesteps,
                                         &sigmas,
                                         &prediction_type,
                                         &timestep_spacing,
                                         &steps_offset,
                                         &clip_sample,
                                         &clip_sample_range,
                                         &thresholding,
                                         &dynamic_thresholding_ratio,
                                         &sample_max_value,
                                         &variance_type,
                                         &eta,
                                         &use_clipped_model_output,
                                         &set_alpha_to_one,
                                         &step_to_listed_timestep,
                                         &original_inference_steps,
                                         &timestep_scaling,
                                         &solver_order,
                                         &solver_type,
                                         &lower_order_final,
                                         &euler_at_final,
                                         &final_sigma,
                                         &sigma_spacing,
                                         &flow_shift,
                                         &sigma_min,
                                         &sigma_max,
                                         &rho,
                                         &rescale_betas_zero_snr,
                                         &interpolation_type,
                                         &timestep_type,
                                         &lambda_min_clipped,
                                         &disable_corrector,
                                         &s_churn,
                                         &s_tmin,
                                         &s_tmax,
                                         &s_noise,
                                         &noise_temperature,
                                         &corrected_third_order,
                                         &predict_x0};
  std::set<const void*> lines;
  ForEachOption([&](const auto& option) { lines.insert(&(overrides.*option.in_overrides)); });
  EXPECT_EQ(lines, members);
}

// No two lines of the table fill in one member, nor does one line fill in another's.
TEST(OptionTable, NoTwoLinesShareAMember) {
  ForEachOption([](const auto& option) {
    SamplerOverrides one;
    SetSomething(one.*option.in_overrides);
    ForEachOption([&](const auto& other) {
      SamplerOverrides both = one;
      SetSomething(both.*other.in_overrides);
      EXPECT_EQ(both == one, other.name == option.name) << option.name << " " << other.name;
    });
  });
}

TEST(ApplyOverrides, RefusesWhatDoesNotGoTogether) {
  for (const RefusedOverrides& refused : OverridesToRefuse()) {
    EXPECT_EQ(GetFieldViolations(Apply(refused.overrides).violations), refused.violations);
  }
}

TEST(ApplyOverrides, RefusesExactlyWhatTheSamplerDoesNotRead) {
  for (const auto& [sampler_name, sampler] : kNames<SamplerKind>) {
    ForEachOption([&, sampler = sampler](const auto& option) {
      if (option.name == "sampler") return;
      SamplerOverrides overrides = {.sampler = sampler};
      SetSomething(overrides.*option.in_overrides);
      const auto violations = GetFieldViolations(Apply(overrides).violations);
      const FieldViolation unread = {std::string(option.name),
                                     "is not an option of " + std::string(SamplerName(sampler))};
      if (option.IsReadBy(sampler)) {
        EXPECT_THAT(violations, testing::Not(testing::Contains(unread)));
      } else {
        EXPECT_THAT(violations, ElementsAre(unread));
      }
    });
  }
}

TEST(ApplyOverrides, ChangesWhatIsSetAndNothingElse) {
  const SamplerOptions defaults = ClassDefaults(SamplerKind::kUniPc);
  const ResolvedSampler untouched = ApplyOverrides(defaults, {}, kMaxSteps);
  EXPECT_TRUE(untouched.violations.ok());
  EXPECT_EQ(EffectiveOverrides(untouched.options), EffectiveOverrides(defaults));

  const ResolvedSampler resolved = ApplyOverrides(
      defaults, {.steps = 7, .solver_type = SolverType::kBh1, .disable_corrector = {0, 2}},
      kMaxSteps);
  EXPECT_TRUE(resolved.violations.ok()) << resolved.violations;
  EXPECT_EQ(resolved.options.steps, 7);
  EXPECT_EQ(resolved.options.solver_type, SolverType::kBh1);
  EXPECT_THAT(resolved.options.disable_corrector, ElementsAre(0, 2));
  EXPECT_EQ(resolved.options.solver_order, defaults.solver_order);
}

TEST(ApplyOverrides, AnInvalidValueLeavesItsDefaultAndTheOthersApply) {
  const ResolvedSampler resolved =
      Apply({.sampler = SamplerKind::kDdim, .steps = 0, .eta = std::nan(""), .solver_order = 1});
  EXPECT_EQ(resolved.options.steps, SamplerOptions().steps);
  EXPECT_EQ(resolved.options.eta, 0);
  EXPECT_EQ(resolved.options.solver_order, SamplerOptions().solver_order);
  EXPECT_EQ(GetFieldViolations(resolved.violations).size(), 3u);

  const ResolvedSampler other = Apply({.sampler = SamplerKind::kDdim, .steps = 0, .eta = 1});
  EXPECT_EQ(other.options.eta, 1);
}

TEST(ApplyOverrides, ListsAreAtMostAsLongAsTheStepLimit) {
  const SamplerOverrides overrides = {
      .sampler = SamplerKind::kUniPc, .timesteps = {9, 8, 7, 6}, .disable_corrector = {0, 1, 2, 3}};
  const SamplerOptions defaults = ClassDefaults(SamplerKind::kUniPc);
  EXPECT_TRUE(ApplyOverrides(defaults, overrides, 4).violations.ok());
  const ResolvedSampler refused = ApplyOverrides(defaults, overrides, 3);
  EXPECT_THAT(
      GetFieldViolations(refused.violations),
      ElementsAre(FieldViolation{"timesteps", "must list at most 3 numbers, lists 4"},
                  FieldViolation{"disable_corrector", "must list at most 3 numbers, lists 4"}));
  EXPECT_THAT(refused.options.timesteps, IsEmpty());
  EXPECT_THAT(refused.options.disable_corrector, IsEmpty());
}

TEST(ApplyOverrides, DefaultStepsAreCutDownToTheLimit) {
  const ResolvedSampler resolved = ApplyOverrides({.steps = 50}, {}, 10);
  EXPECT_TRUE(resolved.violations.ok());
  EXPECT_EQ(resolved.options.steps, 10);
}

TEST(ApplyOverrides, AcceptsInfinityWhereItMeansNone) {
  const SamplerOptions clipped = {.lambda_min_clipped = -5};
  EXPECT_EQ(ApplyOverrides(clipped, {.lambda_min_clipped = -kInfinity}, kMaxSteps)
                .options.lambda_min_clipped,
            -kInfinity);
  for (double bad : {kInfinity, std::nan("")}) {
    const ResolvedSampler refused = ApplyOverrides(clipped, {.lambda_min_clipped = bad}, kMaxSteps);
    EXPECT_THAT(GetFieldViolations(refused.violations),
                ElementsAre(FieldViolation{"lambda_min_clipped", "must be finite"}));
    EXPECT_EQ(refused.options.lambda_min_clipped, -5);
  }
}

TEST(ApplyOverrides, AnOffsetOfTimestepsThatAreNotLeadingIsRefused) {
  const SamplerOverrides offset = {.sampler = SamplerKind::kDdim, .steps_offset = 1};
  EXPECT_TRUE(Apply(offset).violations.ok());
  SamplerOverrides trailing = offset;
  trailing.timestep_spacing = TimestepSpacing::kTrailing;
  EXPECT_THAT(
      GetFieldViolations(Apply(trailing).violations),
      ElementsAre(FieldViolation{
          "steps_offset", "has no effect without timesteps laid out by timestep_spacing leading"}));
}

TEST(ApplyOverrides, RefusesOptionsOfTimestepsWhenNoneAreLaidOut) {
  const auto refused = [](const SamplerOverrides& overrides) {
    std::vector<std::string> fields;
    for (const FieldViolation& violation : GetFieldViolations(Apply(overrides).violations))
      fields.push_back(violation.field);
    return fields;
  };
  EXPECT_THAT(refused({.sampler = SamplerKind::kDpmSolver,
                       .sigma_spacing = SigmaSpacing::kLu,
                       .lambda_min_clipped = -5}),
              ElementsAre("lambda_min_clipped"));
  // The samplers in sigma start by the spacing, whatever the list.
  EXPECT_THAT(refused({.sampler = SamplerKind::kHeun,
                       .sigmas = {9, 3},
                       .timestep_spacing = TimestepSpacing::kLeading,
                       .steps_offset = 1}),
              ElementsAre("steps_offset"));
  EXPECT_THAT(refused({.sampler = SamplerKind::kDpmSolver,
                       .sigmas = {9, 3},
                       .timestep_spacing = TimestepSpacing::kLeading}),
              ElementsAre("timestep_spacing"));
  // The samplers in sigma lay their other spacings between timesteps.
  EXPECT_THAT(refused({.sampler = SamplerKind::kHeun,
                       .timestep_spacing = TimestepSpacing::kLeading,
                       .steps_offset = 1,
                       .sigma_spacing = SigmaSpacing::kKarras}),
              IsEmpty());
}

// Echoed options can be sent again and give the same plan.
TEST(EffectiveOverrides, CanBeAppliedAgainAndGiveTheSamePlan) {
  const Schedule schedule = Schedule::Create({}).value();
  const SamplerOptions some_options[] = {
      {.sampler = SamplerKind::kDdpm, .variance_type = VarianceType::kFixedLarge},
      {.sampler = SamplerKind::kDdim, .steps = 7, .clip_sample = true, .clip_sample_range = 2},
      {.sampler = SamplerKind::kDdim, .steps_offset = 1, .eta = 0.5, .set_alpha_to_one = false},
      {.sampler = SamplerKind::kDdim, .timesteps = {900, 500, 20}},
      {.thresholding = true, .dynamic_thresholding_ratio = 0.9, .sample_max_value = 3},
      {.sigma_spacing = SigmaSpacing::kFlow, .flow_shift = 3},
      {.solver_order = 3, .lower_order_final = false, .corrected_third_order = true},
      {.sampler = SamplerKind::kDpmSolver, .lambda_min_clipped = -3},
      {.sampler = SamplerKind::kSdeDpmSolverPlusPlus, .solver_type = SolverType::kHeun},
      {.sampler = SamplerKind::kUniPc, .solver_order = 3, .disable_corrector = {0, 2}},
      {.sampler = SamplerKind::kDpmSolverPlusPlusSinglestep, .solver_order = 3},
      {.sampler = SamplerKind::kDeis, .solver_order = 3, .final_sigma = FinalSigma::kZero},
      {.sampler = SamplerKind::kPndm, .steps_offset = 1, .set_alpha_to_one = false},
      {.sampler = SamplerKind::kPlms, .steps = 9},
      {.sampler = SamplerKind::kLcm, .steps = 4, .clip_sample = true, .timestep_scaling = 5},
      {.sampler = SamplerKind::kTcd, .steps = 4, .eta = 0.7, .original_inference_steps = 40},
      {.sampler = SamplerKind::kVpSde, .final_sigma = FinalSigma::kSigmaMin},
      {.sampler = SamplerKind::kVpOde, .sigma_spacing = SigmaSpacing::kExponential},
      {.sigmas = {9, 3, 0.5}, .thresholding = true},
      {.sampler = SamplerKind::kHeun, .sigma_spacing = SigmaSpacing::kBeta, .s_churn = 3},
      {.sampler = SamplerKind::kEulerAncestral, .sigmas = {9, 3}, .noise_temperature = 0.5},
      {.sampler = SamplerKind::kDpmSolverPlusPlusSinglestep,
       .solver_order = 2,
       .lower_order_final = false,
       .final_sigma = FinalSigma::kSigmaMin},
      {.sampler = SamplerKind::kEuler, .sigma_spacing = SigmaSpacing::kKarras},
      {.sampler = SamplerKind::kEulerAncestral, .timestep_spacing = TimestepSpacing::kTrailing},
      {.sampler = SamplerKind::kHeun, .clip_sample = true, .clip_sample_range = 2},
      {.sampler = SamplerKind::kEuler,
       .sigma_spacing = SigmaSpacing::kKarras,
       .sigma_min = 0.1,
       .sigma_max = 20,
       .rho = 5},
      {.sampler = SamplerKind::kDdim,
       .prediction_type = PredictionType::kVPrediction,
       .rescale_betas_zero_snr = true},
      {.sampler = SamplerKind::kEuler, .timesteps = {900, 500, 20}, .s_churn = 3, .s_tmin = 0.1},
  };
  for (const SamplerOptions& options : some_options) {
    const SamplerOverrides effective = EffectiveOverrides(options);
    const ResolvedSampler again = Apply(effective);
    EXPECT_TRUE(again.violations.ok()) << again.violations;
    EXPECT_EQ(EffectiveOverrides(again.options), effective);
    const auto plan = CompilePlan(schedule, options);
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_EQ(PlanToJson(CompilePlan(schedule, again.options).value()), PlanToJson(*plan));
  }
}

TEST(EffectiveOverrides, ContainOnlyOptionsWithAnEffect) {
  const SamplerOverrides ddim =
      EffectiveOverrides({.sampler = SamplerKind::kDdim, .timesteps = {5}, .clip_sample = false});
  EXPECT_EQ(ddim.clip_sample, false);
  EXPECT_EQ(ddim.clip_sample_range, std::nullopt);
  EXPECT_EQ(ddim.sample_max_value, std::nullopt);
  EXPECT_EQ(ddim.solver_order, std::nullopt);
  EXPECT_EQ(ddim.steps, std::nullopt);
  EXPECT_EQ(ddim.timestep_spacing, std::nullopt);
  EXPECT_THAT(ddim.timesteps, ElementsAre(5));
}

TEST(EffectiveOverrides, ResolveAnAbsentSolverType) {
  EXPECT_EQ(EffectiveOverrides({.sampler = SamplerKind::kUniPc}).solver_type, SolverType::kBh2);
  EXPECT_EQ(EffectiveOverrides({.sampler = SamplerKind::kDpmSolver}).solver_type,
            SolverType::kMidpoint);
  EXPECT_EQ(EffectiveOverrides({.solver_type = SolverType::kHeun}).solver_type, SolverType::kHeun);
  EXPECT_EQ(EffectiveOverrides({.sampler = SamplerKind::kDdim}).solver_type, std::nullopt);
}

}  // namespace
}  // namespace denoise
