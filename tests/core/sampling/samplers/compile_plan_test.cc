#include "core/sampling/samplers/compile_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <variant>

#include "core/base/field_violations.h"
#include "core/sampling/options/option_names.h"
#include "core/sampling/options/sampler_families.h"

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
constexpr SamplerKind kSinglestep = SamplerKind::kDpmSolverPlusPlusSinglestep;
constexpr SamplerKind kDeis = SamplerKind::kDeis;
constexpr SamplerKind kUniPc = SamplerKind::kUniPc;
constexpr SamplerKind kEuler = SamplerKind::kEuler;
constexpr SamplerKind kEulerA = SamplerKind::kEulerAncestral;
constexpr SamplerKind kHeun = SamplerKind::kHeun;
constexpr SamplerKind kConsistency = SamplerKind::kConsistency;

TEST(CompilePlan, RefusesBadOptionsAndNamesThem) {
  const BadOptions bad_options[] = {
      {"steps", {.steps = 0}},
      {"steps", {.steps = -5}},
      {"steps", {.steps = 1001}},
      {"steps", {.steps = 1000000}},
      {"steps", {.sampler = kDpmpp, .steps = 1000, .timestep_spacing = TimestepSpacing::kLeading}},
      {"steps", {.sampler = kUniPc, .steps = 1000, .timestep_spacing = TimestepSpacing::kLeading}},
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
      {"solver_order", {.sampler = kSde, .solver_order = 4}},
      {"solver_order", {.sampler = kDeis, .solver_order = 4}},
      {"steps", {.sampler = SamplerKind::kLcm, .steps = 51}},
      {"steps", {.sampler = SamplerKind::kTcd, .steps = 11, .original_inference_steps = 10}},
      {"original_inference_steps",
       {.sampler = SamplerKind::kLcm, .original_inference_steps = 1001}},
      {"timestep_scaling", {.sampler = SamplerKind::kLcm, .timestep_scaling = 0}},
      {"timestep_scaling", {.sampler = SamplerKind::kLcm, .timestep_scaling = kNaN}},
      {"eta", {.sampler = SamplerKind::kTcd, .eta = 1.5}},
      {"sigma_spacing", {.sampler = SamplerKind::kVpOde, .sigma_spacing = SigmaSpacing::kFlow}},
      {"sigmas[0]", {.sampler = kEuler, .sigmas = {158, 1}}},
      {"sigmas[1]", {.sampler = kEuler, .sigmas = {15, 0.009}}},
      {"sigmas[1]", {.sampler = kDpmpp, .sigmas = {1, 1}}},
      {"sigmas[0]", {.sampler = kDpmpp, .sigmas = {kNaN}}},
      {"sigmas[0]", {.sampler = kDpmpp, .sigmas = {-1}}},
      {"sigmas", {.sampler = kEuler, .sigmas = std::vector<double>(1001, 1)}},
      {"sigmas", {.sampler = kEuler, .timesteps = {5}, .sigmas = {1}}},
      {"sigmas", {.sampler = kDdim, .sigmas = {1}}},
      {"sigmas", {.sampler = kDpmpp, .sigmas = {1}, .sigma_spacing = SigmaSpacing::kFlow}},
      {"noise_temperature", {.sampler = kEulerA, .noise_temperature = -1}},
      {"noise_temperature", {.sampler = kEulerA, .noise_temperature = kNaN}},
      {"noise_temperature",
       {.sampler = kDdpm, .variance_type = VarianceType::kLearned, .noise_temperature = 0.5}},
      {"final_sigma",
       {.sampler = kDeis,
        .final_sigma = FinalSigma::kSigmaMin,
        .sigma_spacing = SigmaSpacing::kFlow}},
      {"solver_type", {.sampler = kSinglestep, .solver_type = SolverType::kBh1}},
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

// Options on a schedule that is not variance preserving.
SamplerPlan CompileOn(const ScheduleOptions& schedule, const SamplerOptions& options) {
  const absl::StatusOr<SamplerPlan> plan = CompilePlan(Schedule::Create(schedule).value(), options);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return plan.ok() ? *plan : SamplerPlan();
}

SamplerOptions EdmSampler(SamplerKind sampler, int steps) {
  return {.sampler = sampler, .steps = steps, .sigma_spacing = SigmaSpacing::kKarras};
}

SamplerOptions FlowSampler(SamplerKind sampler, int steps) {
  return {.sampler = sampler,
          .steps = steps,
          .prediction_type = PredictionType::kFlowPrediction,
          .sigma_spacing = SigmaSpacing::kFlow};
}

const EdmOptions kConsistencyModel = {.num_train_timesteps = 40, .consistency_model = true};

std::vector<double> Sigmas(const SamplerPlan& plan) {
  std::vector<double> sigmas;
  for (const Evaluation& evaluation : plan.evaluations) sigmas.push_back(evaluation.sigma);
  return sigmas;
}

struct BadOnFamily {
  const char* field;
  ScheduleOptions schedule;
  SamplerOptions options;
};

TEST(CompilePlan, RefusesWhatDoesNotSuitTheFamilyOfTheSchedule) {
  const EdmOptions edm;
  const FlowOptions flow;
  const auto with = [](SamplerOptions options, auto change) {
    change(options);
    return options;
  };
  const BadOnFamily bad_options[] = {
      {"sampler", VpOptions{}, {.sampler = kConsistency}},
      {"sampler", edm, EdmSampler(kDdpm, 5)},
      {"sampler", edm, EdmSampler(kDdim, 5)},
      {"sampler", edm, EdmSampler(kConsistency, 5)},
      {"sampler", flow, FlowSampler(kDdpm, 5)},
      {"sampler", flow, FlowSampler(kDdim, 5)},
      {"sampler", flow, FlowSampler(kEulerA, 5)},
      {"sampler", kConsistencyModel, EdmSampler(kEuler, 5)},
      {"sampler", kConsistencyModel, EdmSampler(kDpmpp, 5)},
      {"prediction_type", edm,
       with(EdmSampler(kEuler, 5),
            [](SamplerOptions& o) { o.prediction_type = PredictionType::kSample; })},
      {"prediction_type", flow,
       with(FlowSampler(kEuler, 5),
            [](SamplerOptions& o) { o.prediction_type = PredictionType::kEpsilon; })},
      {"sigma_spacing", edm, {.sampler = kEuler}},
      {"sigma_spacing", edm,
       with(EdmSampler(kUniPc, 5),
            [](SamplerOptions& o) { o.sigma_spacing = SigmaSpacing::kFlow; })},
      {"sigma_spacing", flow,
       with(FlowSampler(kHeun, 5),
            [](SamplerOptions& o) { o.sigma_spacing = SigmaSpacing::kTimesteps; })},
      {"final_sigma", flow,
       with(FlowSampler(kEuler, 5),
            [](SamplerOptions& o) { o.final_sigma = FinalSigma::kSigmaMin; })},
      {"s_churn", flow, with(FlowSampler(kEuler, 5), [](SamplerOptions& o) { o.s_churn = 1; })},
      {"sigma_max", flow,
       with(FlowSampler(kEuler, 5),
            [](SamplerOptions& o) {
              o.sigma_spacing = SigmaSpacing::kKarras;
              o.sigma_max = 1.5;
            })},
      {"rescale_betas_zero_snr", edm,
       with(EdmSampler(kEuler, 5), [](SamplerOptions& o) { o.rescale_betas_zero_snr = true; })},
      {"sigma_min", edm, with(EdmSampler(kEuler, 5), [](SamplerOptions& o) { o.sigma_min = 80; })},
      {"sigma_max", edm,
       with(EdmSampler(kEuler, 5), [](SamplerOptions& o) { o.sigma_max = 0.001; })},
      {"sigma_max", edm,
       with(EdmSampler(kEuler, 5), [](SamplerOptions& o) { o.sigma_max = kNaN; })},
      {"rho", edm, with(EdmSampler(kEuler, 5), [](SamplerOptions& o) { o.rho = 0; })},
      {"timesteps[0]", edm,
       with(EdmSampler(kEuler, 5), [](SamplerOptions& o) { o.timesteps = {5}; })},
      {"timesteps[1]", flow,
       with(FlowSampler(kEuler, 5),
            [](SamplerOptions& o) {
              o.timesteps = {1000, 0};
            })},
      {"steps", kConsistencyModel, EdmSampler(kConsistency, 41)},
      {"sampler", VpOptions{}, {.sampler = kDdpm, .timestep_type = TimestepType::kContinuous}},
  };
  for (const BadOnFamily& bad : bad_options) {
    const absl::Status status =
        CompilePlan(Schedule::Create(bad.schedule).value(), bad.options).status();
    EXPECT_THAT(ViolatedFields(status), testing::ElementsAre(bad.field)) << status;
  }
}

TEST(CompilePlan, EdmRunsFromSigmaMaxToSigmaMinByKarrasRho) {
  const SamplerPlan plan = CompileOn(EdmOptions{}, EdmSampler(kEuler, 3));
  const double middle = std::pow((std::pow(80, 1 / 7.0) + std::pow(0.002, 1 / 7.0)) / 2, 7);
  EXPECT_THAT(Sigmas(plan),
              testing::ElementsAre(testing::DoubleNear(80, 1e-9), testing::DoubleNear(middle, 1e-9),
                                   testing::DoubleNear(0.002, 1e-9)));
  EXPECT_NEAR(plan.evaluations[0].timestep, 0.25 * std::log(80), 1e-9);
  EXPECT_NEAR(plan.evaluations[0].input_scale, 1 / std::hypot(80, 0.5), 1e-12);
  EXPECT_NEAR(plan.init_noise_scale, std::hypot(80, 1), 1e-9);
  EXPECT_EQ(plan.final_sigma, 0);
}

TEST(CompilePlan, SigmaRangeAndRhoCanBeChosen) {
  SamplerOptions options = EdmSampler(kDpmpp, 3);
  options.sigma_min = 0.1;
  options.sigma_max = 10;
  options.rho = 1;
  EXPECT_THAT(Sigmas(CompileOn(EdmOptions{}, options)),
              testing::ElementsAre(testing::DoubleNear(10, 1e-9), testing::DoubleNear(5.05, 1e-9),
                                   testing::DoubleNear(0.1, 1e-9)));
  options.final_sigma = FinalSigma::kSigmaMin;
  EXPECT_NEAR(CompileOn(EdmOptions{}, options).final_sigma, 0.1, 1e-9);
  const SamplerPlan preserving = Compile(options);
  EXPECT_NEAR(preserving.evaluations[1].sigma / preserving.evaluations[1].alpha, 5.05, 1e-9);
  EXPECT_NEAR(preserving.final_sigma / preserving.final_alpha, 0.1, 1e-9);
}

TEST(CompilePlan, CustomTimestepsReplaceAFamilysSpacing) {
  SamplerOptions edm = EdmSampler(kEuler, 5);
  edm.timesteps = {1, 0, -1};
  EXPECT_THAT(Sigmas(CompileOn(EdmOptions{}, edm)),
              testing::ElementsAre(testing::DoubleNear(std::exp(4), 1e-9), 1,
                                   testing::DoubleNear(std::exp(-4), 1e-9)));
  SamplerOptions flow = FlowSampler(kEuler, 5);
  flow.timesteps = {1000, 400};
  EXPECT_THAT(Sigmas(CompileOn(FlowOptions{}, flow)), testing::ElementsAre(1, 0.4));
}

TEST(CompilePlan, FlowGoesStraightFromNoiseToImage) {
  const SamplerPlan plan = CompileOn(FlowOptions{}, FlowSampler(kEuler, 4));
  EXPECT_EQ(plan.init_noise_scale, 1);
  EXPECT_THAT(Timesteps(plan), testing::Pointwise(testing::DoubleNear(1e-9), {1000, 667, 334, 1}));
  for (const Evaluation& evaluation : plan.evaluations) {
    EXPECT_DOUBLE_EQ(evaluation.alpha + evaluation.sigma, 1);
    EXPECT_EQ(evaluation.input_scale, 1);
  }
  // x' = x + (sigma' - sigma) * v, where x0 = x - sigma * v.
  const Evaluation& second = plan.evaluations[1];
  EXPECT_NEAR(second.update(0, 0) + second.update(0, 1), 1, 1e-12);
  EXPECT_NEAR(second.update(0, 1) * second.x0_from_output, 0.334 - 0.667, 1e-12);
}

TEST(CompilePlan, FlowShiftMovesLevelsTowardsNoise) {
  SamplerOptions options = FlowSampler(kEuler, 3);
  options.flow_shift = 3;
  const double last = 3 * 0.001 / (1 + 2 * 0.001);  // shifted as a part of the schedule
  const double middle = (1 + last) / 2;
  const SamplerPlan plan = CompileOn(FlowOptions{}, options);
  EXPECT_NEAR(plan.evaluations[1].sigma, 3 * middle / (1 + 2 * middle), 1e-12);
  EXPECT_NEAR(plan.evaluations[2].sigma, 3 * last / (1 + 2 * last), 1e-12);
}

TEST(CompilePlan, InvertedFlowCountsTimestepsFromNoiseAndPredictsTheOtherWay) {
  SamplerOptions inverted = FlowSampler(kEuler, 4);
  inverted.prediction_type = PredictionType::kInvertedFlowPrediction;
  const SamplerPlan plan = CompileOn(FlowOptions{.invert_sigmas = true}, inverted);
  EXPECT_THAT(Timesteps(plan), testing::Pointwise(testing::DoubleNear(1e-9), {0, 333, 666, 999}));
  const SamplerPlan straight = CompileOn(FlowOptions{}, FlowSampler(kEuler, 4));
  for (size_t i = 0; i < plan.evaluations.size(); ++i) {
    EXPECT_NEAR(plan.evaluations[i].sigma, straight.evaluations[i].sigma, 1e-12);
    EXPECT_NEAR(plan.evaluations[i].x0_from_output, -straight.evaluations[i].x0_from_output, 1e-12);
  }
}

// They count from noise, so they rise.
TEST(CompilePlan, CustomTimestepsOfAnInvertedFlowGoFromNoiseToImage) {
  const Schedule schedule = Schedule::Create(FlowOptions{.invert_sigmas = true}).value();
  SamplerOptions options = FlowSampler(kEuler, 4);
  options.prediction_type = PredictionType::kInvertedFlowPrediction;
  options.timesteps = {0, 600, 900};
  const absl::StatusOr<SamplerPlan> plan = CompilePlan(schedule, options);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_THAT(Timesteps(*plan), testing::ElementsAre(0, 600, 900));
  EXPECT_THAT(Sigmas(*plan), testing::Pointwise(testing::DoubleNear(1e-12), {1.0, 0.4, 0.1}));
  options.timesteps = {600, 0, 0};
  const absl::Status status = CompilePlan(schedule, options).status();
  EXPECT_THAT(ViolatedFields(status), testing::ElementsAre("timesteps[1]", "timesteps[2]"));
  EXPECT_THAT(std::string(status.message()),
              testing::HasSubstr("must be less noisy than the one before"));
}

TEST(CompilePlan, HeunOnAFlowAveragesTheVelocitiesAtBothEnds) {
  const SamplerPlan plan = CompileOn(FlowOptions{}, FlowSampler(kHeun, 2));
  EXPECT_THAT(Timesteps(plan), testing::Pointwise(testing::DoubleNear(1e-9), {1000, 1, 1}));
  const Evaluation& predict = plan.evaluations[0];
  const Evaluation& correct = plan.evaluations[1];
  EXPECT_FALSE(predict.ends_step);
  const double step = 0.001 - 1;
  EXPECT_NEAR(predict.update(0, 2) * predict.x0_from_output, step, 1e-12);
  EXPECT_NEAR(predict.update(1, 2) * predict.x0_from_output, step / 2, 1e-12);
  EXPECT_NEAR(correct.update(0, 2) * correct.x0_from_output, step / 2, 1e-12);
}

// Song et al. 2023, algorithm 1.
TEST(CompilePlan, AConsistencyModelTakesOneStepFromNoiseToImage) {
  const SamplerPlan plan = CompileOn(kConsistencyModel, EdmSampler(kConsistency, 1));
  ASSERT_EQ(plan.evaluations.size(), 1u);
  const Evaluation& only = plan.evaluations[0];
  EXPECT_NEAR(plan.init_noise_scale, 80, 1e-9);
  EXPECT_NEAR(only.timestep, 250 * std::log(80), 1e-9);
  EXPECT_NEAR(only.input_scale, 1 / std::hypot(80, 0.5), 1e-12);
  EXPECT_NEAR(only.x0_from_state, 0.25 / (79.998 * 79.998 + 0.25), 1e-12);
  EXPECT_NEAR(only.x0_from_output, 79.998 * 0.5 / std::hypot(80, 0.5), 1e-12);
  EXPECT_EQ(only.update(0, 0), 0);
  EXPECT_EQ(only.update(0, 1), 1);
  EXPECT_FALSE(AddsNoise(only));
}

TEST(CompilePlan, AConsistencyModelAddsFreshNoiseBetweenSteps) {
  SamplerOptions options = EdmSampler(kConsistency, 3);
  options.s_noise = 0.5;
  const SamplerPlan plan = CompileOn(kConsistencyModel, options);
  const auto level = [](int i) {  // the i-th of the 40 it was trained at
    const double max = std::pow(80, 1 / 7.0), min = std::pow(0.002, 1 / 7.0);
    return std::pow(max + i / 39.0 * (min - max), 7);
  };
  EXPECT_THAT(Sigmas(plan),
              testing::Pointwise(testing::DoubleNear(1e-9), {level(0), level(13), level(26)}));
  for (int step : {0, 1}) {
    EXPECT_NEAR(std::get<double>(plan.evaluations[step].noise),
                0.5 * std::sqrt(std::pow(level(13 * (step + 1)), 2) - 0.002 * 0.002), 1e-9);
  }
  EXPECT_FALSE(AddsNoise(plan.evaluations[2]));
  EXPECT_NEAR(plan.final_sigma, 0.002, 1e-12);
}

TEST(CompilePlan, ARequestMayRescaleTheScheduleToZeroTerminalSnr) {
  SamplerOptions options{.sampler = kDdim,
                         .steps = 5,
                         .prediction_type = PredictionType::kVPrediction,
                         .timestep_spacing = TimestepSpacing::kTrailing};
  EXPECT_GT(Compile(options).evaluations[0].alpha, 0);
  options.rescale_betas_zero_snr = true;
  EXPECT_EQ(Compile(options).evaluations[0].alpha, 0);
  options.rescale_betas_zero_snr = false;
  const auto back = CompilePlan(ZeroSnrSchedule(), options);
  options.rescale_betas_zero_snr.reset();
  EXPECT_EQ(PlanToJson(back.value()), PlanToJson(Compile(options)));
}

TEST(CompilePlan, LogLinearLevelsEndAtTheLeastNoise) {
  const Schedule schedule = MakeSchedule();
  const SamplerPlan plan = Compile({.sampler = kEuler,
                                    .steps = 4,
                                    .timestep_spacing = TimestepSpacing::kLinspace,
                                    .interpolation_type = InterpolationType::kLogLinear});
  const double max = schedule.sigma(999) / schedule.alpha(999);
  const double min = schedule.sigma(0) / schedule.alpha(0);
  for (int i = 0; i < 4; ++i) {
    EXPECT_NEAR(plan.evaluations[i].sigma, max * std::pow(min / max, i / 4.0), 1e-9 * max);
  }
  EXPECT_NEAR(plan.final_sigma, min, 1e-12);
  EXPECT_THAT(Timesteps(plan), testing::ElementsAre(999, 666, 333, 0));
}

TEST(CompilePlan, SigmaMinIsTheEndOfASpacingThatItBelongsTo) {
  SamplerOptions options{.sampler = kEuler,
                         .steps = 4,
                         .final_sigma = FinalSigma::kSigmaMin,
                         .sigma_spacing = SigmaSpacing::kKarras,
                         .sigma_min = 0.3,
                         .interpolation_type = InterpolationType::kLogLinear};
  EXPECT_NEAR(Compile(options).final_sigma, 0.3, 1e-12);
  EXPECT_NEAR(Compile(options).evaluations[3].sigma, 0.3, 1e-12);
  options.sigma_spacing = SigmaSpacing::kTimesteps;
  const Schedule schedule = MakeSchedule();
  EXPECT_NEAR(Compile(options).final_sigma, schedule.sigma(0) / schedule.alpha(0), 1e-12);
}

TEST(CompilePlan, NetworksWithContinuousTimeGetAQuarterOfLogSigma) {
  for (SamplerKind sampler : {kEuler, kHeun, kDpmpp, kUniPc}) {
    const SamplerPlan plan = Compile({.sampler = sampler,
                                      .steps = 3,
                                      .prediction_type = PredictionType::kVPrediction,
                                      .sigma_spacing = SigmaSpacing::kKarras,
                                      .sigma_min = 0.01,
                                      .sigma_max = 100,
                                      .timestep_type = TimestepType::kContinuous});
    EXPECT_NEAR(plan.evaluations.front().timestep, 0.25 * std::log(100), 1e-9);
    EXPECT_NEAR(plan.evaluations.back().timestep, 0.25 * std::log(0.01), 1e-9);
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
                                MakeSchedule({.beta_end = 1e-4, .num_train_timesteps = 100000}),
                                MakeSchedule({.trained_betas = std::vector<double>(100, 0.999)}),
                                MakeSchedule({.trained_betas = std::vector<double>(50, 1e-300)}),
                                Schedule::Create(EdmOptions{}).value(),
                                Schedule::Create(kConsistencyModel).value(),
                                Schedule::Create(FlowOptions{}).value(),
                                Schedule::Create(FlowOptions{.shift_terminal = 0.1}).value()};
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
  for (SamplerKind sampler : {SamplerKind::kDpmSolver, kDpmpp, kSde, kSinglestep, kDeis, kUniPc,
                              kEuler, kEulerA, kHeun}) {
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
  for (SamplerKind sampler :
       {kDdpm, kDdim, kDpmpp, kSde, kSinglestep, kDeis, kUniPc, kEuler, kEulerA}) {
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

TEST(CompilePlan, LearnedVarianceComesFromTheNetwork) {
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

TEST(CompilePlan, ThresholdingReplacesTheClip) {
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

TEST(CompilePlan, RefusesToEndAboveTheLastStep) {
  const SamplerOptions up{.sampler = SamplerKind::kEuler,
                          .steps = 1,
                          .final_sigma = FinalSigma::kSigmaMin,
                          .sigma_spacing = SigmaSpacing::kKarras,
                          .sigma_min = 10,
                          .sigma_max = 0.1};
  EXPECT_THAT(ViolatedFields(CompilePlan(MakeSchedule(), up).status()),
              testing::ElementsAre("final_sigma"));
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

TEST(CompilePlan, RefusesEpsilonWithZeroTerminalSnrForEverySampler) {
  for (const auto& [name, sampler] : kNames<SamplerKind>) {
    if (!SuitsFamily(sampler, ScheduleFamily::kVariancePreserving)) continue;
    SamplerOptions options{
        .sampler = sampler, .steps = 10, .timestep_spacing = TimestepSpacing::kTrailing};
    EXPECT_THAT(ViolatedFields(CompilePlan(ZeroSnrSchedule(), options).status()),
                testing::ElementsAre("prediction_type"))
        << name;
    for (PredictionType type : {PredictionType::kVPrediction, PredictionType::kSample}) {
      options.prediction_type = type;
      const auto plan = CompilePlan(ZeroSnrSchedule(), options);
      EXPECT_TRUE(plan.ok()) << name << ": " << plan.status();
    }
  }
}

TEST(CompilePlan, SolversReplaceZeroTerminalSnrByTheLeastFloat16) {
  const absl::StatusOr<SamplerPlan> plan =
      CompilePlan(ZeroSnrSchedule(), {.sampler = kDpmpp,
                                      .timesteps = {999, 500},
                                      .prediction_type = PredictionType::kVPrediction});
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
  const SamplerPlan leading = Compile({.sampler = kEuler, .steps = 4});
  EXPECT_NEAR(leading.init_noise_scale, 1 / schedule.alpha(750), 1e-9);
}

// As in the library: init_noise_sigma reads timestep_spacing even where a list replaces it.
TEST(CompilePlan, TheSpacingSaysWhatNoiseCustomLevelsStartWith) {
  for (SamplerKind sampler : {kEuler, kEulerA, kHeun}) {
    for (TimestepSpacing spacing :
         {TimestepSpacing::kLeading, TimestepSpacing::kTrailing, TimestepSpacing::kLinspace}) {
      const bool leading = spacing == TimestepSpacing::kLeading;
      const double ratio = MakeSchedule().LevelAt(999).ratio();
      EXPECT_NEAR(Compile({.sampler = sampler, .timesteps = {999, 5}, .timestep_spacing = spacing})
                      .init_noise_scale,
                  leading ? std::hypot(ratio, 1) : ratio, 1e-9);
      EXPECT_NEAR(Compile({.sampler = sampler, .sigmas = {10, 1}, .timestep_spacing = spacing})
                      .init_noise_scale,
                  leading ? std::sqrt(101) : 10, 1e-9);
    }
  }
}

// The timesteps of Align Your Steps (Sabour et al. 2024) with the config of Stable Diffusion XL.
TEST(CompilePlan, CustomTimestepsOnALeadingConfigStartWithTheLibrarysNoise) {
  const Schedule schedule = MakeSchedule(
      {.beta_schedule = BetaSchedule::kScaledLinear, .beta_start = 0.00085, .beta_end = 0.012});
  const absl::StatusOr<SamplerPlan> plan =
      CompilePlan(schedule, {.sampler = kEuler,
                             .timesteps = {999, 845, 730, 587, 443, 310, 193, 116, 53, 13},
                             .timestep_spacing = TimestepSpacing::kLeading,
                             .steps_offset = 1});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_NEAR(plan->init_noise_scale, 14.64881, 1e-5);
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

TEST(CompilePlan, PndmTakesRungeKuttaStepsOnlyWhereAnotherStepFollows) {
  const auto evaluations = [](SamplerKind sampler, int steps) {
    const SamplerPlan plan = Compile({.sampler = sampler, .steps = steps});
    EXPECT_EQ(plan.NumSteps(), steps);
    return static_cast<int>(plan.evaluations.size());
  };
  EXPECT_EQ(evaluations(SamplerKind::kPndm, 1), 1);
  EXPECT_EQ(evaluations(SamplerKind::kPndm, 2), 5);
  EXPECT_EQ(evaluations(SamplerKind::kPndm, 3), 9);
  EXPECT_EQ(evaluations(SamplerKind::kPndm, 4), 13);
  EXPECT_EQ(evaluations(SamplerKind::kPndm, 50), 59);
  EXPECT_EQ(evaluations(SamplerKind::kPlms, 1), 1);
  EXPECT_EQ(evaluations(SamplerKind::kPlms, 50), 51);
}

// As the library lists them: prk_timesteps, then plms_timesteps.
TEST(CompilePlan, PndmsTimestepsAreThoseOfItsClass) {
  const SamplerPlan plan = Compile({.sampler = SamplerKind::kPndm, .steps = 5});
  EXPECT_THAT(Timesteps(plan), testing::ElementsAre(800, 700, 700, 600, 600, 500, 500, 400, 400,
                                                    300, 300, 200, 200, 0));
  EXPECT_THAT(Timesteps(Compile({.sampler = SamplerKind::kPlms, .steps = 4})),
              testing::ElementsAre(750, 500, 500, 250, 0));
}

TEST(CompilePlan, PndmEndsAtTheSchedulesFirstLevelIfItsConfigSaysSo) {
  EXPECT_EQ(Compile({.sampler = SamplerKind::kPlms}).final_sigma, 0);
  EXPECT_DOUBLE_EQ(Compile({.sampler = SamplerKind::kPlms, .set_alpha_to_one = false}).final_sigma,
                   MakeSchedule().sigma(0));
}

TEST(CompilePlan, DistilledSamplersVisitTimestepsOfTheirDistillation) {
  for (SamplerKind sampler : {SamplerKind::kLcm, SamplerKind::kTcd}) {
    EXPECT_THAT(Timesteps(Compile({.sampler = sampler, .steps = 4})),
                testing::ElementsAre(999, 759, 499, 259));
    EXPECT_THAT(
        Timesteps(Compile({.sampler = sampler, .steps = 3, .original_inference_steps = 10})),
        testing::ElementsAre(999, 699, 399));
    EXPECT_THAT(Timesteps(Compile({.sampler = sampler, .timesteps = {800, 3}})),
                testing::ElementsAre(800, 3));
  }
}

TEST(CompilePlan, LcmDrawsNoiseAfterEveryStepButTheLast) {
  const SamplerPlan plan = Compile({.sampler = SamplerKind::kLcm, .steps = 4});
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(AddsNoise(plan.evaluations[i]), i < 3);
  EXPECT_DOUBLE_EQ(std::get<double>(plan.evaluations[0].noise), MakeSchedule().sigma(759));
}

TEST(CompilePlan, TcdJumpsToAFractionOfTheNextTimestep) {
  const Schedule schedule = MakeSchedule();
  const auto noise = [&](double eta) {
    return std::get<double>(
        Compile({.sampler = SamplerKind::kTcd, .steps = 4, .eta = eta}).evaluations[0].noise);
  };
  EXPECT_EQ(noise(0), 0);
  const double kept = schedule.alpha(759) / schedule.alpha(531);  // floor(0.7 * 759)
  EXPECT_NEAR(noise(0.3), std::sqrt(1 - kept * kept), 1e-12);
  EXPECT_NEAR(noise(1), std::sqrt(1 - std::pow(schedule.alpha(759) / schedule.alpha(0), 2)), 1e-12);
  EXPECT_DOUBLE_EQ(Compile({.sampler = SamplerKind::kTcd, .steps = 4}).final_sigma,
                   schedule.sigma(0));
}

TEST(CompilePlan, VpSamplersTakeFractionalTimesteps) {
  const SamplerPlan plan = Compile(
      {.sampler = SamplerKind::kVpSde, .steps = 3, .timestep_spacing = TimestepSpacing::kLinspace});
  EXPECT_THAT(Timesteps(plan), testing::ElementsAre(999, 499.5, 0));
  EXPECT_EQ(plan.init_noise_scale, 1);
}

// The quantiles of Beta(0.6, 0.6) by numerical integration of its density.
TEST(CompilePlan, BetaSigmasAreQuantilesOfTheBetaDistribution) {
  const int steps = 9;
  const SamplerPlan plan =
      Compile({.sampler = kDpmpp, .steps = steps, .sigma_spacing = SigmaSpacing::kBeta});
  const Schedule schedule = MakeSchedule();
  const double min = schedule.sigma(0) / schedule.alpha(0);
  const double max = schedule.sigma(999) / schedule.alpha(999);
  // With x = sin(u)^2 the density times dx is 2 sin(u)^0.2 cos(u)^0.2 du, which is smooth inside.
  const auto probability = [](double x) {
    constexpr int kCells = 200000;
    const auto integral = [](double end) {
      double sum = 0;
      for (int i = 0; i < kCells; ++i) {
        const double u = end * (i + 0.5) / kCells;
        sum += std::pow(std::sin(u) * std::cos(u), 0.2) * end / kCells;
      }
      return sum;
    };
    return integral(std::asin(std::sqrt(x))) / integral(std::asin(1.0));
  };
  for (int i = 0; i < steps; ++i) {
    const Evaluation& evaluation = plan.evaluations[i];
    const double x = (evaluation.sigma / evaluation.alpha - min) / (max - min);
    const double clamped = std::clamp(x, 0.0, 1.0);
    EXPECT_NEAR(probability(clamped), 1 - i / (steps - 1.0), 1e-5) << i;
  }
}

TEST(CompilePlan, CustomSigmasReplaceStepsAndSpacings) {
  for (const auto& [name, sampler] : kNames<SamplerKind>) {
    if (!SamplerReads(sampler, "sigmas")) continue;
    const SamplerPlan plan = Compile({.sampler = sampler, .steps = 0, .sigmas = {100, 10, 0.5}});
    EXPECT_EQ(plan.NumSteps(), 3) << name;
    const Evaluation& first = plan.evaluations[0];
    EXPECT_NEAR(first.sigma / first.alpha, 100, 1e-9) << name;
    EXPECT_EQ(plan.final_sigma, 0);
    EXPECT_EQ(plan.init_noise_scale,
              SamplerReads(sampler, "s_churn") || sampler == kEulerA ? std::hypot(100, 1) : 1)
        << name;
  }
  const SamplerPlan dpm = Compile({.sampler = kDpmpp, .sigmas = {100, 10, 0.5}});
  for (double timestep : Timesteps(dpm)) EXPECT_EQ(timestep, std::nearbyint(timestep));
}

TEST(CompilePlan, CustomSigmasMayEndAtTheSchedulesLeast) {
  const Schedule schedule = MakeSchedule();
  const double least = schedule.sigma(0) / schedule.alpha(0);
  const SamplerPlan plan = Compile({.sampler = kEuler,
                                    .sigmas = {50, least * (1 - 1e-6)},
                                    .final_sigma = FinalSigma::kSigmaMin});
  EXPECT_NEAR(plan.evaluations.back().update(0, 0), 1, 1e-5);  // the last step stands still
}

// Karras et al. 2022, algorithm 2: the network's input is the image with the fresh noise.
TEST(CompilePlan, HeunsChurnComesBeforeTheNetworkCall) {
  const SamplerOptions still{.sampler = kHeun, .sigmas = {50, 5, 0.5}};
  SamplerOptions churned = still;
  churned.s_churn = 0.6;  // gamma 0.2
  churned.s_noise = 1.5;
  churned.s_tmax = 10;  // the first step has none
  const SamplerPlan plan = Compile(churned);
  const SamplerPlan plain = Compile(still);
  ASSERT_EQ(plan.evaluations.size(), 5u);
  EXPECT_EQ(plan.init_noise_scale, plain.init_noise_scale);
  EXPECT_EQ(plan.evaluations[2].sigma, 6);
  EXPECT_EQ(plan.evaluations[4].sigma, 0.6);
  EXPECT_GT(plan.evaluations[2].timestep, plain.evaluations[2].timestep);
  EXPECT_EQ(plan.evaluations[1].timestep, plain.evaluations[1].timestep);
  EXPECT_DOUBLE_EQ(std::get<double>(plan.evaluations[1].noise), 1.5 * std::sqrt(36 - 25));
  EXPECT_DOUBLE_EQ(std::get<double>(plan.evaluations[3].noise), 1.5 * std::sqrt(0.36 - 0.25));
  for (int e : {0, 2, 4}) EXPECT_FALSE(AddsNoise(plan.evaluations[e])) << e;
  // x - (6 - 0.5) * (x - x0) / 6, and then half of that with half of the direction at 0.5.
  EXPECT_NEAR(plan.evaluations[2].update(0, 2), 5.5 / 6, 1e-12);

  churned.s_tmax = 100;
  EXPECT_NEAR(Compile(churned).init_noise_scale,
              std::hypot(plain.init_noise_scale, 1.5 * std::sqrt(60. * 60 - 50 * 50)), 1e-9);
}

TEST(CompilePlan, EdmSchedulesTakeCustomSigmasBetaSpacingAndChurn) {
  const Schedule schedule = Schedule::Create(EdmOptions{}).value();
  SamplerOptions options{.sampler = kHeun,
                         .sigmas = {80, 4, 0.002},
                         .sigma_spacing = SigmaSpacing::kKarras,
                         .s_churn = 0.3};
  const absl::StatusOr<SamplerPlan> plan = CompilePlan(schedule, options);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_NEAR(plan->evaluations[2].timestep, 0.25 * std::log(4.4), 1e-12);  // gamma 0.1
  EXPECT_NEAR(std::get<double>(plan->evaluations[1].noise), std::sqrt(4.4 * 4.4 - 16), 1e-12);

  options.sigmas = {81, 4};
  EXPECT_THAT(ViolatedFields(CompilePlan(schedule, options).status()),
              testing::ElementsAre("sigmas[0]"));
  const absl::StatusOr<SamplerPlan> beta =
      CompilePlan(schedule, {.sampler = kDpmpp, .steps = 5, .sigma_spacing = SigmaSpacing::kBeta});
  ASSERT_TRUE(beta.ok()) << beta.status();
  EXPECT_NEAR(beta->evaluations[0].sigma, 80, 1e-9);
  EXPECT_NEAR(beta->evaluations[2].sigma, 40.001, 1e-9);  // the median
  EXPECT_NEAR(beta->evaluations[4].sigma, 0.002, 1e-9);
  for (SamplerKind sampler : {kSinglestep, kDeis}) {
    const auto more = CompilePlan(
        schedule, {.sampler = sampler, .steps = 5, .sigma_spacing = SigmaSpacing::kKarras});
    EXPECT_TRUE(more.ok()) << more.status();
  }
}

TEST(CompilePlan, NoiseTemperatureScalesAllAddedNoise) {
  for (const auto& [name, sampler] : kNames<SamplerKind>) {
    if (!SamplerReads(sampler, "noise_temperature")) continue;
    if (!SuitsFamily(sampler, ScheduleFamily::kVariancePreserving)) continue;
    SamplerOptions options{.sampler = sampler, .steps = 6, .eta = 0.5, .s_churn = 1};
    const SamplerPlan plan = Compile(options);
    options.noise_temperature = 0.7;
    const SamplerPlan cooler = Compile(options);
    bool noisy = false;
    for (size_t e = 0; e < plan.evaluations.size(); ++e) {
      const double scale = std::get<double>(plan.evaluations[e].noise);
      noisy = noisy || scale > 0;
      EXPECT_DOUBLE_EQ(std::get<double>(cooler.evaluations[e].noise), 0.7 * scale) << name;
    }
    EXPECT_TRUE(noisy) << name;
    options.noise_temperature = 0;
    for (const Evaluation& evaluation : Compile(options).evaluations)
      EXPECT_FALSE(AddsNoise(evaluation)) << name;
  }
}

TEST(CompilePlan, NoiseTemperatureScalesTheChurnBeforeTheFirstStep) {
  const SamplerPlan plan = Compile({.sampler = kHeun,
                                    .sigmas = {50},
                                    .timestep_spacing = TimestepSpacing::kTrailing,
                                    .s_churn = 0.2,
                                    .noise_temperature = 0.5});
  EXPECT_NEAR(plan.init_noise_scale, std::hypot(50, 0.5 * std::sqrt(60. * 60 - 50 * 50)), 1e-9);
}

TEST(CompilePlan, NoiseTemperatureMovesTheRangeOfALearnedVariance) {
  SamplerOptions options{.sampler = kDdpm, .variance_type = VarianceType::kLearnedRange};
  const LearnedRange range = std::get<LearnedRange>(Compile(options).evaluations[0].noise);
  options.noise_temperature = 0.5;
  const LearnedRange cooler = std::get<LearnedRange>(Compile(options).evaluations[0].noise);
  EXPECT_NEAR(cooler.log_variance_min, range.log_variance_min + std::log(0.25), 1e-12);
  EXPECT_NEAR(cooler.log_variance_max, range.log_variance_max + std::log(0.25), 1e-12);
}

TEST(CompilePlan, IsPure) {
  const SamplerOptions options{.sampler = kUniPc, .steps = 9, .solver_order = 3};
  EXPECT_EQ(PlanToJson(Compile(options)), PlanToJson(Compile(options)));
}

}  // namespace
}  // namespace denoise
