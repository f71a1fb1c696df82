#include "core/sampling/compile_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <variant>

#include "core/base/field_violations.h"
#include "core/sampling/option_names.h"

namespace denoise {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

Schedule MakeSchedule(const VpOptions& options = {}) { return Schedule::Create(options).value(); }

Schedule ZeroSnrSchedule() { return MakeSchedule({.rescale_betas_zero_snr = true}); }

SamplerPlan Compile(const SamplerOptions& options) {
  const absl::StatusOr<SamplerPlan> plan = CompilePlan(MakeSchedule(), options);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return plan.ok() ? *plan : SamplerPlan();
}

std::vector<double> Timesteps(const SamplerPlan& plan) {
  std::vector<double> timesteps;
  for (const Evaluation& evaluation : plan.evaluations) timesteps.push_back(evaluation.timestep);
  return timesteps;
}

std::vector<std::string> ViolatedFields(const absl::Status& status) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  std::vector<std::string> fields;
  for (const FieldViolation& violation : GetFieldViolations(status))
    fields.push_back(violation.field);
  return fields;
}

struct BadOptions {
  const char* field;
  SamplerOptions options;
};

constexpr SamplerKind kDdpm = SamplerKind::kDdpm;
constexpr SamplerKind kDdim = SamplerKind::kDdim;
constexpr SamplerKind kDpmpp = SamplerKind::kDpmSolverPlusPlus;
constexpr SamplerKind kSde = SamplerKind::kSdeDpmSolverPlusPlus;
constexpr SamplerKind kUniPc = SamplerKind::kUniPc;
constexpr SamplerKind kEuler = SamplerKind::kEuler;
constexpr SamplerKind kEulerA = SamplerKind::kEulerAncestral;
constexpr SamplerKind kHeun = SamplerKind::kHeun;

TEST(CompilePlan, RefusesBadOptionsAndNamesThem) {
  const BadOptions bad_options[] = {
      {"steps", {.steps = 0}},
      {"steps", {.steps = -5}},
      {"steps", {.steps = 1001}},
      {"steps", {.steps = 1000000}},
      {"steps", {.sampler = kDpmpp, .steps = 1000, .timestep_spacing = TimestepSpacing::kLeading}},
      {"steps", {.sampler = kUniPc, .steps = 1000, .timestep_spacing = TimestepSpacing::kLinspace}},
      {"timesteps[0]", {.timesteps = {1000}}},
      {"timesteps[0]", {.timesteps = {-1}}},
      {"timesteps[0]", {.timesteps = {kNaN}}},
      {"timesteps[1]", {.timesteps = {900, kNaN, 100}}},
      {"timesteps[1]", {.timesteps = {900, -kInfinity}}},
      {"timesteps[1]", {.timesteps = {500, 500}}},
      {"timesteps[2]", {.timesteps = {900, 100, 200}}},
      {"timesteps", {.timesteps = std::vector<double>(1001, 5)}},
      {"timesteps",
       {.sampler = kDpmpp, .timesteps = {900, 100}, .sigma_spacing = SigmaSpacing::kKarras}},
      {"timesteps",
       {.sampler = kUniPc, .timesteps = {900, 100}, .sigma_spacing = SigmaSpacing::kFlow}},
      {"prediction_type", {.sampler = kDdim, .prediction_type = PredictionType::kFlowPrediction}},
      {"prediction_type", {.sampler = kDpmpp, .prediction_type = PredictionType::kFlowPrediction}},
      {"sigma_spacing",
       {.prediction_type = PredictionType::kVPrediction, .sigma_spacing = SigmaSpacing::kFlow}},
      {"steps_offset", {.sampler = kDdim, .steps_offset = -1}},
      {"steps_offset", {.sampler = kDdim, .steps = 20, .steps_offset = 50}},
      {"clip_sample_range", {.sampler = kDdpm, .clip_sample = true, .clip_sample_range = 0}},
      {"clip_sample_range", {.sampler = kDdpm, .clip_sample_range = kNaN}},
      {"clip_sample_range", {.sampler = kDdpm, .clip_sample_range = kInfinity}},
      {"dynamic_thresholding_ratio", {.thresholding = true, .dynamic_thresholding_ratio = 0}},
      {"dynamic_thresholding_ratio", {.thresholding = true, .dynamic_thresholding_ratio = 1.01}},
      {"dynamic_thresholding_ratio", {.thresholding = true, .dynamic_thresholding_ratio = kNaN}},
      {"sample_max_value", {.thresholding = true, .sample_max_value = 0.5}},
      {"sample_max_value", {.thresholding = true, .sample_max_value = kInfinity}},
      {"eta", {.sampler = kDdim, .eta = -0.1}},
      {"eta", {.sampler = kDdim, .eta = 1.1}},
      {"eta", {.sampler = kDdim, .eta = kNaN}},
      {"solver_order", {.sampler = kDpmpp, .solver_order = 0}},
      {"solver_order", {.sampler = kDpmpp, .solver_order = 4}},
      {"solver_order", {.sampler = kUniPc, .solver_order = -1}},
      {"solver_order", {.sampler = kSde, .solver_order = 3}},
      {"solver_type", {.sampler = kDpmpp, .solver_type = SolverType::kBh2}},
      {"solver_type", {.sampler = kUniPc, .solver_type = SolverType::kHeun}},
      {"lower_order_final", {.sampler = kUniPc, .solver_order = 2, .lower_order_final = false}},
      {"final_sigma", {.final_sigma = FinalSigma::kSigmaMin, .sigma_spacing = SigmaSpacing::kFlow}},
      {"flow_shift", {.flow_shift = 0}},
      {"flow_shift", {.flow_shift = -kInfinity}},
      {"flow_shift", {.flow_shift = kNaN}},
      {"lambda_min_clipped", {.lambda_min_clipped = kNaN}},
      {"lambda_min_clipped", {.lambda_min_clipped = kInfinity}},
      {"lambda_min_clipped", {.lambda_min_clipped = 100}},
      {"disable_corrector", {.sampler = kUniPc, .disable_corrector = {1, -2}}},
      {"sigma_spacing", {.sampler = kEuler, .sigma_spacing = SigmaSpacing::kFlow}},
      {"timesteps",
       {.sampler = kEuler, .timesteps = {900, 100}, .sigma_spacing = SigmaSpacing::kKarras}},
      {"s_churn", {.sampler = kEuler, .s_churn = -1}},
      {"s_churn", {.sampler = kEuler, .s_churn = kInfinity}},
      {"s_tmin", {.sampler = kEuler, .s_tmin = kNaN}},
      {"s_tmax", {.sampler = kEuler, .s_tmax = -1}},
      {"s_noise", {.sampler = kEuler, .s_noise = kNaN}},
  };
  for (const BadOptions& bad : bad_options) {
    const absl::Status status = CompilePlan(MakeSchedule(), bad.options).status();
    EXPECT_THAT(ViolatedFields(status), testing::ElementsAre(bad.field)) << status;
  }
}

TEST(CompilePlan, ReportsEveryViolationAtOnce) {
  const absl::Status status =
      CompilePlan(MakeSchedule(), {.sampler = kDdim, .steps = 0, .clip_sample_range = -1, .eta = 7})
          .status();
  EXPECT_THAT(ViolatedFields(status),
              testing::UnorderedElementsAre("steps", "clip_sample_range", "eta"));
}

// Every combination either compiles to finite numbers or is refused with a field.
TEST(CompilePlan, NeverYieldsACoefficientThatIsNotFinite) {
  const Schedule schedules[] = {MakeSchedule(),
                                ZeroSnrSchedule(),
                                MakeSchedule({.beta_schedule = BetaSchedule::kSquaredCosCapV2}),
                                MakeSchedule({.num_train_timesteps = 1}),
                                MakeSchedule({.num_train_timesteps = 2}),
                                MakeSchedule({.num_train_timesteps = 100000}),
                                MakeSchedule({.trained_betas = std::vector<double>(1000, 0.999)}),
                                MakeSchedule({.trained_betas = std::vector<double>(50, 1e-300)})};
  int compiled = 0, refused = 0;
  for (const Schedule& schedule : schedules) {
    for (const auto& [name, sampler] : kNames<SamplerKind>) {
      for (const auto& [prediction_name, prediction] : kNames<PredictionType>) {
        for (const auto& [spacing_name, spacing] : kNames<TimestepSpacing>) {
          for (const auto& [sigmas_name, sigmas] : kNames<SigmaSpacing>) {
            for (const auto& [final_name, final_sigma] : kNames<FinalSigma>) {
              for (int steps : {1, 2, 3, 50, 999, 1000}) {
                const absl::StatusOr<SamplerPlan> plan =
                    CompilePlan(schedule, {.sampler = sampler,
                                           .steps = steps,
                                           .prediction_type = prediction,
                                           .timestep_spacing = spacing,
                                           .final_sigma = final_sigma,
                                           .sigma_spacing = sigmas});
                if (!plan.ok()) {
                  ++refused;
                  ASSERT_FALSE(ViolatedFields(plan.status()).empty()) << plan.status();
                  continue;
                }
                ++compiled;
                for (const Evaluation& evaluation : plan->evaluations) {
                  ASSERT_TRUE(std::isfinite(evaluation.input_scale) &&
                              std::isfinite(evaluation.x0_from_state) &&
                              std::isfinite(evaluation.x0_from_output));
                  for (int row = 0; row < plan->slots; ++row) {
                    for (int column = 0; column < plan->slots + 2; ++column) {
                      ASSERT_TRUE(std::isfinite(evaluation.update(row, column)))
                          << name << " " << steps;
                    }
                  }
                }
              }
            }
          }
        }
      }
    }
  }
  EXPECT_GT(compiled, 1000);
  EXPECT_GT(refused, 1000);
}

// The last computed level is sigma_min but for rounding; a step backwards would have no real noise.
TEST(CompilePlan, EverySolverEndsAtSigmaMinWhateverTheSpacing) {
  for (SamplerKind sampler :
       {SamplerKind::kDpmSolver, kDpmpp, kSde, kUniPc, kEuler, kEulerA, kHeun}) {
    for (SigmaSpacing sigmas : {SigmaSpacing::kTimesteps, SigmaSpacing::kKarras,
                                SigmaSpacing::kExponential, SigmaSpacing::kLu}) {
      for (int steps = 2; steps <= 60; ++steps) {
        const auto plan = CompilePlan(MakeSchedule(), {.sampler = sampler,
                                                       .steps = steps,
                                                       .final_sigma = FinalSigma::kSigmaMin,
                                                       .sigma_spacing = sigmas});
        ASSERT_TRUE(plan.ok()) << SamplerName(sampler) << ", " << NameOf(sigmas) << ", " << steps
                               << " steps: " << plan.status();
        EXPECT_NEAR(plan->final_sigma / plan->final_alpha,
                    MakeSchedule().sigma(0) / MakeSchedule().alpha(0), 1e-9);
      }
    }
  }
}

TEST(CompilePlan, CustomTimestepsReplaceStepsAndSpacing) {
  for (SamplerKind sampler : {kDdpm, kDdim, kDpmpp, kSde, kUniPc, kEuler, kEulerA}) {
    const SamplerPlan plan =
        Compile({.sampler = sampler, .steps = 0, .timesteps = {999, 500.5, 0}});
    EXPECT_THAT(Timesteps(plan), testing::ElementsAre(999, 500.5, 0));
    EXPECT_EQ(plan.NumSteps(), 3);
    EXPECT_EQ(plan.final_alpha, 1);
    EXPECT_EQ(plan.final_sigma, 0);
  }
}

TEST(CompilePlan, FractionalTimestepsLieBetweenTheirNeighbours) {
  const SamplerPlan plan = Compile({.sampler = kDdim, .timesteps = {501, 500.5, 500}});
  EXPECT_LT(plan.evaluations[0].alpha, plan.evaluations[1].alpha);
  EXPECT_LT(plan.evaluations[1].alpha, plan.evaluations[2].alpha);
}

TEST(CompilePlan, LevelsAreTheSchedulesOwn) {
  const Schedule schedule = MakeSchedule();
  for (SamplerKind sampler : {kDdpm, kDdim, kDpmpp, kUniPc}) {
    const SamplerPlan plan = Compile({.sampler = sampler, .timesteps = {700, 300}});
    EXPECT_DOUBLE_EQ(plan.evaluations[0].alpha, schedule.alpha(700));
    EXPECT_DOUBLE_EQ(plan.evaluations[1].sigma, schedule.sigma(300));
  }
}

TEST(CompilePlan, DdpmDrawsNoiseExactlyWhereTheTimestepIsAboveZero) {
  const SamplerPlan leading = Compile({.sampler = kDdpm, .steps = 4});
  for (const Evaluation& evaluation : leading.evaluations)
    EXPECT_EQ(AddsNoise(evaluation), evaluation.timestep > 0);
  // The library draws after a last step above zero, too, at a scale nobody sees.
  const SamplerPlan trailing =
      Compile({.sampler = kDdpm, .steps = 4, .timestep_spacing = TimestepSpacing::kTrailing});
  EXPECT_DOUBLE_EQ(std::get<double>(trailing.evaluations.back().noise), 1e-10);
}

TEST(CompilePlan, LogFormsOfFixedVarianceAreTheSameVariance) {
  const auto noise = [](VarianceType type) {
    return std::get<double>(
        Compile({.sampler = kDdpm, .variance_type = type}).evaluations[3].noise);
  };
  EXPECT_DOUBLE_EQ(noise(VarianceType::kFixedSmall), noise(VarianceType::kFixedSmallLog));
  EXPECT_DOUBLE_EQ(noise(VarianceType::kFixedLarge), noise(VarianceType::kFixedLargeLog));
  EXPECT_LT(noise(VarianceType::kFixedSmall), noise(VarianceType::kFixedLarge));
}

TEST(CompilePlan, LearnedVarianceIsAskedOfTheNetwork) {
  const SamplerPlan range =
      Compile({.sampler = kDdpm, .variance_type = VarianceType::kLearnedRange});
  EXPECT_TRUE(range.NeedsLearnedVariance());
  const LearnedRange& bounds = std::get<LearnedRange>(range.evaluations[0].noise);
  EXPECT_LT(bounds.log_variance_min, bounds.log_variance_max);
  const SamplerPlan learned = Compile({.sampler = kDdpm, .variance_type = VarianceType::kLearned});
  EXPECT_TRUE(std::holds_alternative<LearnedVariance>(learned.evaluations[0].noise));
  EXPECT_FALSE(AddsNoise(learned.evaluations.back()));  // timestep 0
  EXPECT_FALSE(
      Compile({.sampler = kDdim, .variance_type = VarianceType::kLearned}).NeedsLearnedVariance());
}

TEST(CompilePlan, DdimStepsByTheStrideUnlessToldToStepToTheNextTimestep) {
  const Schedule schedule = MakeSchedule();
  SamplerOptions options{.sampler = kDdim,
                         .steps = 20,
                         .prediction_type = PredictionType::kSample,
                         .timestep_spacing = TimestepSpacing::kLinspace};
  // x' = alpha' * x0 + sigma' * epsilon, and epsilon = (x - ...) / sigma: the weight of x is sigma'
  // / sigma.
  const auto end_of_first_step = [&] {
    const SamplerPlan plan = Compile(options);
    return plan.evaluations[0].update(0, 0) * plan.evaluations[0].sigma;
  };
  EXPECT_NEAR(end_of_first_step(), schedule.sigma(999 - 1000 / 20), 1e-12);
  options.step_to_listed_timestep = true;
  EXPECT_NEAR(end_of_first_step(), schedule.sigma(946), 1e-12);
}

TEST(CompilePlan, DdimMayEndAtTheSchedulesFirstLevel) {
  const Schedule schedule = MakeSchedule();
  EXPECT_EQ(Compile({.sampler = kDdim}).final_sigma, 0);
  EXPECT_DOUBLE_EQ(Compile({.sampler = kDdim, .set_alpha_to_one = false}).final_sigma,
                   schedule.sigma(0));
}

TEST(CompilePlan, ThresholdingTakesThePlaceOfTheClip) {
  const SamplerOptions both{
      .sampler = kDdim, .clip_sample = true, .thresholding = true, .sample_max_value = 2};
  const Clip clip = Compile(both).evaluations[0].clip;
  EXPECT_EQ(std::get<DynamicThreshold>(clip).max_value, 2);
  const Clip fixed =
      Compile({.sampler = kDdim, .clip_sample = true, .clip_sample_range = 3}).evaluations[0].clip;
  EXPECT_EQ(std::get<StaticClip>(fixed).min, -3);
  EXPECT_EQ(std::get<StaticClip>(fixed).max, 3);
  const Clip heun = Compile({.sampler = kHeun, .clip_sample = true}).evaluations[1].clip;
  EXPECT_EQ(std::get<StaticClip>(heun).max, 1);
  // The solvers never clip to a fixed range.
  const Clip none = Compile({.sampler = kDpmpp, .clip_sample = true}).evaluations[0].clip;
  EXPECT_TRUE(std::holds_alternative<std::monostate>(none));
}

TEST(CompilePlan, RefusesEpsilonWhereThereIsNoSignal) {
  const SamplerOptions first{.sampler = kDdim, .timesteps = {999, 500}};
  EXPECT_THAT(ViolatedFields(CompilePlan(ZeroSnrSchedule(), first).status()),
              testing::ElementsAre("prediction_type"));
  SamplerOptions v = first;
  v.prediction_type = PredictionType::kVPrediction;
  EXPECT_TRUE(CompilePlan(ZeroSnrSchedule(), v).ok());
  EXPECT_TRUE(CompilePlan(ZeroSnrSchedule(), {.sampler = kDdim, .timesteps = {998, 500}}).ok());
}

TEST(CompilePlan, SolversTakeZeroTerminalSnrForTheLeastOfFloat16) {
  const absl::StatusOr<SamplerPlan> plan =
      CompilePlan(ZeroSnrSchedule(), {.sampler = kDpmpp, .timesteps = {999, 500}});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_DOUBLE_EQ(plan->evaluations[0].alpha, std::pow(2.0, -12));
}

TEST(CompilePlan, KarrasTimestepsMayRepeat) {
  const SamplerPlan plan =
      Compile({.sampler = kDpmpp, .steps = 200, .sigma_spacing = SigmaSpacing::kKarras});
  const std::vector<double> timesteps = Timesteps(plan);
  EXPECT_EQ(timesteps.size(), 200u);
  EXPECT_NE(std::adjacent_find(timesteps.begin(), timesteps.end()), timesteps.end());
}

TEST(CompilePlan, SigmaSpacingsRunFromTheFirstToTheLastLevel) {
  const Schedule schedule = MakeSchedule();
  for (SigmaSpacing spacing :
       {SigmaSpacing::kKarras, SigmaSpacing::kExponential, SigmaSpacing::kLu}) {
    const SamplerPlan plan = Compile({.sampler = kDpmpp, .steps = 7, .sigma_spacing = spacing});
    EXPECT_EQ(plan.evaluations.front().timestep, 999) << NameOf(spacing);
    EXPECT_EQ(plan.evaluations.back().timestep, 0) << NameOf(spacing);
    EXPECT_NEAR(plan.evaluations.front().sigma, schedule.sigma(999), 1e-12);
    EXPECT_NEAR(plan.evaluations.back().sigma, schedule.sigma(0), 1e-12);
  }
}

TEST(CompilePlan, FlowLevelsAreAStraightLine) {
  const SamplerPlan plan = Compile({.sampler = kUniPc,
                                    .steps = 5,
                                    .prediction_type = PredictionType::kFlowPrediction,
                                    .sigma_spacing = SigmaSpacing::kFlow,
                                    .flow_shift = 3});
  for (const Evaluation& evaluation : plan.evaluations)
    EXPECT_DOUBLE_EQ(evaluation.alpha + evaluation.sigma, 1);
  EXPECT_NEAR(plan.evaluations.front().sigma, 1, 1e-5);
}

TEST(CompilePlan, FinalSigmaMinLeavesTheLowestLevelOfNoise) {
  const SamplerPlan plan = Compile({.sampler = kDpmpp, .final_sigma = FinalSigma::kSigmaMin});
  EXPECT_DOUBLE_EQ(plan.final_sigma, MakeSchedule().sigma(0));
}

TEST(CompilePlan, LambdaMinClippedLeavesOutTheNoisiestTimesteps) {
  const SamplerPlan plan = Compile({.sampler = kDpmpp, .lambda_min_clipped = -2});
  EXPECT_GE(std::log(plan.evaluations[0].alpha / plan.evaluations[0].sigma), -2);
  EXPECT_LT(plan.evaluations[0].timestep, 800);
}

// The order of a step is how many columns of history its first row reads.
int StepOrder(const Evaluation& evaluation) {
  int order = 1;
  for (int slot = 1; slot < evaluation.update.rows(); ++slot)
    order += evaluation.update(0, slot) != 0;
  return order;
}

std::vector<int> StepOrders(const SamplerOptions& options) {
  std::vector<int> orders;
  for (const Evaluation& evaluation : Compile(options).evaluations)
    orders.push_back(StepOrder(evaluation));
  return orders;
}

TEST(CompilePlan, OrdersRiseWithHistoryAndFallAtTheEnd) {
  using testing::ElementsAre;
  EXPECT_THAT(StepOrders({.steps = 6, .solver_order = 3}), ElementsAre(1, 2, 3, 3, 2, 1));
  EXPECT_THAT(StepOrders({.steps = 5, .solver_order = 3, .lower_order_final = false}),
              ElementsAre(1, 2, 3, 3, 1));
  EXPECT_THAT(
      StepOrders({.steps = 4, .lower_order_final = false, .final_sigma = FinalSigma::kSigmaMin}),
      ElementsAre(1, 2, 2, 2));
  EXPECT_THAT(StepOrders({.steps = 4,
                          .lower_order_final = false,
                          .euler_at_final = true,
                          .final_sigma = FinalSigma::kSigmaMin}),
              ElementsAre(1, 2, 2, 1));
  // With 15 steps or more only the last one, which ends without noise, is lowered.
  const std::vector<int> orders = StepOrders({.steps = 15, .solver_order = 3});
  EXPECT_EQ(orders[13], 3);
  EXPECT_EQ(orders[14], 1);
}

TEST(CompilePlan, CorrectedThirdOrderDiffersInTheThirdOrderOnly) {
  SamplerOptions options{.sampler = kDpmpp, .steps = 5, .solver_order = 3};
  const SamplerPlan published = Compile(options);
  options.corrected_third_order = true;
  const SamplerPlan corrected = Compile(options);
  EXPECT_EQ(published.evaluations[1].update(0, 1), corrected.evaluations[1].update(0, 1));
  EXPECT_NE(published.evaluations[2].update(0, 2), corrected.evaluations[2].update(0, 2));
}

TEST(CompilePlan, RefusesAStartWithMoreNoiseThanAnImageHolds) {
  const Schedule schedule = MakeSchedule({.trained_betas = std::vector<double>(100, 0.9)});
  const SamplerOptions options{
      .sampler = kEuler, .timesteps = {99, 1}, .prediction_type = PredictionType::kSample};
  EXPECT_THAT(ViolatedFields(CompilePlan(schedule, options).status()),
              testing::ElementsAre("steps"));
}

TEST(CompilePlan, SamplersInSigmaTakeAnyNumberOfSteps) {
  for (SamplerKind sampler : {kEuler, kEulerA, kHeun}) {
    for (TimestepSpacing spacing :
         {TimestepSpacing::kLeading, TimestepSpacing::kTrailing, TimestepSpacing::kLinspace}) {
      for (int steps : {1, 2, 3, 5, 10, 50, 1000}) {
        const SamplerPlan plan =
            Compile({.sampler = sampler, .steps = steps, .timestep_spacing = spacing});
        EXPECT_EQ(plan.NumSteps(), steps) << SamplerName(sampler) << " " << NameOf(spacing);
        EXPECT_EQ(plan.final_sigma, 0);
      }
    }
  }
}

TEST(CompilePlan, SamplersInSigmaStartWithTheNoiseOfTheirFirstLevel) {
  const Schedule schedule = MakeSchedule();
  const double last = schedule.sigma(999) / schedule.alpha(999);
  const SamplerPlan linspace =
      Compile({.sampler = kEuler, .steps = 7, .timestep_spacing = TimestepSpacing::kLinspace});
  EXPECT_NEAR(linspace.init_noise_scale, last, 1e-9);
  // The spacing means nothing to custom timesteps.
  EXPECT_EQ(Compile({.sampler = kEuler, .timesteps = {999, 5}}).init_noise_scale,
            linspace.init_noise_scale);
  const SamplerPlan leading = Compile({.sampler = kEuler, .steps = 4});
  EXPECT_NEAR(leading.init_noise_scale, 1 / schedule.alpha(750), 1e-9);
}

// In the library the other spacings lie between the first and the last of the timesteps, whatever
// lays those.
TEST(CompilePlan, SigmaSpacingsOfSamplersInSigmaKeepToTheirTimesteps) {
  for (SigmaSpacing sigmas : {SigmaSpacing::kKarras, SigmaSpacing::kExponential}) {
    const SamplerPlan plan = Compile({.sampler = kEuler,
                                      .steps = 10,
                                      .timestep_spacing = TimestepSpacing::kTrailing,
                                      .sigma_spacing = sigmas});
    EXPECT_NEAR(plan.evaluations.front().timestep, 999, 1e-6);
    EXPECT_NEAR(plan.evaluations.back().timestep, 99, 1e-6);
  }
}

TEST(CompilePlan, IsPure) {
  const SamplerOptions options{.sampler = kUniPc, .steps = 9, .solver_order = 3};
  EXPECT_EQ(PlanToJson(Compile(options)), PlanToJson(Compile(options)));
}

}  // namespace
}  // namespace denoise
