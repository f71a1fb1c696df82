#include "core/sampling/samplers/run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <variant>

#include "core/base/field_violations.h"
#include "core/sampling/samplers/compile_plan.h"
#include "tests/core/sampling/samplers/plan_replay.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;

Schedule LinearSchedule() { return *Schedule::Create(VpOptions()); }

SamplerPlan Compile(const SamplerOptions& options, const RunOptions& run = {}) {
  const auto plan = CompilePlan(LinearSchedule(), options, run);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return *plan;
}

std::string RefusedField(const absl::Status& status) {
  const auto violations = GetFieldViolations(status);
  return violations.size() == 1 ? violations[0].field : std::string(status.message());
}

std::string Json(SamplerPlan plan) {
  plan.draws_left_out = 0;
  plan.init_noise_scale = 1;
  return PlanToJson(plan);
}

// `plan` without its first evaluations.
SamplerPlan Rest(SamplerPlan plan, int evaluations) {
  plan.evaluations.erase(plan.evaluations.begin(), plan.evaluations.begin() + evaluations);
  return plan;
}

struct StrengthCase {
  int steps;
  double strength;
  int first;
};

// The library's img2img takes int(steps * strength) steps.
TEST(LayOutRun, StrengthLeavesOutWhatTheLibraryLeavesOut) {
  for (const auto& [steps, strength, first] :
       {StrengthCase{50, 1, 0}, {50, 0.8, 10}, {50, 0.58, 22}, {10, 0.75, 3}, {10, 0.1, 9}}) {
    EXPECT_THAT(*LayOutRun({.strength = strength}, steps), ElementsAre(Segment{first, steps}))
        << steps << " " << strength;
  }
}

TEST(LayOutRun, LeavesStepsOutInOneWay) {
  EXPECT_EQ(RefusedField(LayOutRun({.strength = 0.5, .first_step = 2}, 10).status()), "first_step");
}

TEST(LayOutRun, AStrengthThatLeavesNothingToDoIsRefused) {
  for (double strength : {0.0, -0.5, 1.01, 0.09, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_EQ(RefusedField(LayOutRun({.strength = strength}, 10).status()), "strength");
  }
}

TEST(LayOutRun, TheFirstStepMustBeOneOfTheRun) {
  EXPECT_THAT(*LayOutRun({.first_step = 9}, 10), ElementsAre(Segment{9, 10}));
  for (int first : {-1, 10, std::numeric_limits<int>::max()}) {
    EXPECT_EQ(RefusedField(LayOutRun({.first_step = first}, 10).status()), "first_step");
  }
}

// The order of RePaint's schedule for 6 steps, jump_length 2 and 2 resamples: with 4, 2 and 0 steps
// to go it has been at most 2 steps below its start, or jumps back once.
TEST(LayOutRun, JumpsBackWhereRePaintDoes) {
  EXPECT_THAT(*LayOutRun({.jump_length = 2, .resamples = 2}, 6),
              ElementsAre(Segment{0, 4}, Segment{2, 6}, Segment{4, 6}));
  EXPECT_THAT(*LayOutRun({.jump_length = 1, .resamples = 3}, 2),
              ElementsAre(Segment{0, 2}, Segment{1, 2}, Segment{1, 2}));
  EXPECT_THAT(*LayOutRun({.jump_length = 7, .resamples = 9}, 6), ElementsAre(Segment{0, 6}));
  EXPECT_THAT(*LayOutRun({.strength = 0.5, .jump_length = 2, .resamples = 2}, 6),
              ElementsAre(Segment{3, 6}, Segment{4, 6}));
}

TEST(LayOutRun, CountsRepeatedStepsAgainstTheLimit) {
  const RunOptions run{.jump_length = 2, .resamples = 2, .max_steps = 10};
  EXPECT_EQ(LayOutRun(run, 6)->size(), 3u);
  RunOptions tight = run;
  tight.max_steps = 9;
  EXPECT_EQ(RefusedField(LayOutRun(tight, 6).status()), "resamples");
  constexpr int kHuge = std::numeric_limits<int>::max();
  EXPECT_EQ(RefusedField(LayOutRun({.resamples = kHuge, .max_steps = 1000}, 1000).status()),
            "resamples");
  EXPECT_THAT(*LayOutRun({.jump_length = kHuge}, 6), ElementsAre(Segment{0, 6}));
}

TEST(LayOutRun, JumpsMustGoSomewhere) {
  EXPECT_EQ(RefusedField(LayOutRun({.jump_length = 0}, 6).status()), "jump_length");
  EXPECT_EQ(RefusedField(LayOutRun({.resamples = 0}, 6).status()), "resamples");
}

TEST(CompilePlan, AWholeRunIsTheSamplerItself) {
  const SamplerOptions options{.sampler = SamplerKind::kHeun, .steps = 6};
  EXPECT_EQ(Json(Compile(options, {.jump_length = 2})), Json(Compile(options)));
}

TEST(CompilePlan, ASamplerWithoutHistoryContinuesLikeTheWholeRun) {
  const SamplerOptions samplers[] = {
      {.sampler = SamplerKind::kDdim, .steps = 10},
      {.sampler = SamplerKind::kDdpm, .steps = 10},
      {.sampler = SamplerKind::kEuler, .steps = 10, .s_churn = 3},
      {.sampler = SamplerKind::kEulerAncestral, .steps = 10},
      {.sampler = SamplerKind::kDpmSolverPlusPlus, .steps = 10, .solver_order = 1},
  };
  for (const SamplerOptions& options : samplers) {
    const SamplerPlan whole = Compile(options);
    const SamplerPlan rest = Compile(options, {.first_step = 4});
    EXPECT_EQ(rest.first_step, 4);
    EXPECT_EQ(Json(rest), Json(Rest(whole, 4))) << SamplerName(options.sampler);
  }
}

TEST(CompilePlan, AStepOfHeunIsTwoEvaluations) {
  const SamplerOptions options{.sampler = SamplerKind::kHeun, .steps = 6};
  EXPECT_EQ(Json(Compile(options, {.strength = 0.5})), Json(Rest(Compile(options), 6)));
}

std::vector<double> Timesteps(const SamplerPlan& plan) {
  std::vector<double> timesteps;
  for (const Evaluation& evaluation : plan.evaluations) timesteps.push_back(evaluation.timestep);
  return timesteps;
}

// What the library asks the network after PNDMScheduler.set_timesteps(4), from entry 4 - int(4 *
// strength) of 751, 501, 501, 251, 1 on.
TEST(CompilePlan, PlmsFromAPictureLeavesOutEntriesOfTheLibrarysList) {
  SamplerOptions options{.sampler = SamplerKind::kPlms, .steps = 4};
  options.timestep_spacing = TimestepSpacing::kLeading;
  options.steps_offset = 1;
  options.set_alpha_to_one = false;
  const auto from = [&](double strength) { return Compile(options, {.strength = strength}); };
  EXPECT_THAT(Timesteps(Compile(options)), ElementsAre(751, 501, 501, 251, 1));
  EXPECT_THAT(Timesteps(from(0.8)), ElementsAre(501, 501, 251, 1));
  EXPECT_THAT(Timesteps(from(0.5)), ElementsAre(501, 251, 1));
  EXPECT_THAT(Timesteps(from(0.25)), ElementsAre(251, 1));
  for (const auto& [strength, steps] : {std::pair{0.8, 3}, {0.5, 2}, {0.25, 1}}) {
    EXPECT_EQ(from(strength).NumSteps(), steps);
    EXPECT_EQ(from(strength).first_step, 4 - steps);
  }
  const NoiseLevel last = LinearSchedule().LevelAt(1), end = LinearSchedule().LevelAt(0);
  EXPECT_DOUBLE_EQ(from(0.25).final_sigma, last.sigma) << "the two entries are one move";
  EXPECT_DOUBLE_EQ(from(0.5).final_sigma, end.sigma);
}

// A network that always sees the noise e leaves x = alpha / alpha_start * x_start + ... e after a
// move, so the factor of x tells which moves were made.
TEST(CompilePlan, PlmsFromAPictureMakesTheLibrarysMoves) {
  SamplerOptions options{.sampler = SamplerKind::kPlms, .steps = 4};
  options.timestep_spacing = TimestepSpacing::kLeading;
  options.steps_offset = 1;
  options.set_alpha_to_one = false;
  const auto alpha = [](double timestep) { return LinearSchedule().alpha(timestep); };
  // The weight of `slot` in x after evaluation `e`, where the network's output does not change.
  const auto weight = [&](const SamplerPlan& plan, size_t e, int slot) {
    const Evaluation& evaluation = plan.evaluations[e];
    return evaluation.update(0, slot) +
           (slot == 0 ? evaluation.update(0, plan.slots) * evaluation.x0_from_state : 0);
  };
  const SamplerPlan half = Compile(options, {.strength = 0.5});
  EXPECT_NEAR(weight(half, 0, 0), alpha(251) / alpha(501), 1e-9);
  EXPECT_NEAR(weight(half, 1, 0), 0, 1e-9) << "x as it was remembered moves instead";
  EXPECT_NEAR(weight(half, 1, 1), alpha(251) / alpha(501), 1e-9);
  EXPECT_NEAR(weight(half, 2, 0), alpha(0) / alpha(1), 1e-9) << "not from 251, where x is";
  const SamplerPlan most = Compile(options, {.strength = 0.8});
  EXPECT_NEAR(weight(most, 0, 0), alpha(251) / alpha(501), 1e-9);
  EXPECT_NEAR(weight(most, 1, 1), alpha(501) / alpha(751), 1e-9);
  EXPECT_NEAR(weight(most, 2, 0), alpha(1) / alpha(251), 1e-9);
}

// The base of SDXL and its refiner.
TEST(CompilePlan, TwoPartsTakeTheStepsOfTheWholeRun) {
  SamplerOptions options{.sampler = SamplerKind::kEuler, .steps = 8};
  options.timestep_spacing = TimestepSpacing::kLeading;
  options.steps_offset = 1;
  const SamplerPlan whole = Compile(options);
  const SamplerPlan first = Compile(options, {.denoising_end = 0.6});
  const SamplerPlan second = Compile(options, {.denoising_start = 0.6});
  EXPECT_THAT(Timesteps(first), ElementsAre(876, 751, 626, 501));
  EXPECT_THAT(Timesteps(second), ElementsAre(376, 251, 126, 1));
  EXPECT_EQ(Json(second), Json(Rest(whole, 4)));
  EXPECT_EQ(first.init_noise_scale, whole.init_noise_scale);
  EXPECT_DOUBLE_EQ(first.final_sigma, second.evaluations.front().sigma);
  EXPECT_EQ(second.first_step, 4);
  const SamplerPlan middle = Compile(options, {.denoising_start = 0.25, .denoising_end = 0.6});
  EXPECT_THAT(Timesteps(middle), ElementsAre(626, 501)) << "751 is not below 750";
}

TEST(CompilePlan, ThePartOfARunMustHaveSteps) {
  const SamplerOptions options{.sampler = SamplerKind::kEuler, .steps = 8};
  const auto refused = [&](const RunOptions& run) {
    return RefusedField(CompilePlan(LinearSchedule(), options, run).status());
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (double end : {-0.1, 0.0, 1.1, nan})
    EXPECT_EQ(refused({.denoising_end = end}), "denoising_end");
  for (double start : {-0.1, 1.0, nan}) {
    const auto violations = GetFieldViolations(
        CompilePlan(LinearSchedule(), options, {.denoising_start = start}).status());
    ASSERT_FALSE(violations.empty());
    EXPECT_EQ(violations[0].field, "denoising_start");
  }
  EXPECT_EQ(refused({.denoising_start = 0.6, .denoising_end = 0.5}), "denoising_end");
  EXPECT_EQ(refused({.denoising_start = 0.5001, .denoising_end = 0.5002}), "denoising_start");
  EXPECT_EQ(refused({.strength = 0.5, .denoising_start = 0.5}), "denoising_start");
  EXPECT_EQ(refused({.strength = 0.25, .denoising_end = 0.5}), "denoising_end");
  EXPECT_EQ(refused({.denoising_end = 0.5, .jump_length = 2, .resamples = 2}), "resamples");
}

TEST(CompilePlan, ASolverRestartsWithAnEmptyHistory) {
  for (SamplerKind sampler : {SamplerKind::kDpmSolverPlusPlus, SamplerKind::kUniPc}) {
    const SamplerOptions options{.sampler = sampler, .steps = 10, .solver_order = 3};
    const SamplerPlan rest = Compile(options, {.strength = 0.6});
    ASSERT_EQ(rest.NumSteps(), 6);
    EXPECT_EQ(rest.evaluations[0].timestep, Compile(options).evaluations[4].timestep);
    for (int slot = 1; slot < rest.slots; ++slot) {
      EXPECT_EQ(rest.evaluations[0].update(0, slot), 0) << SamplerName(sampler);
    }
  }
}

// A solver that lowers the order of short runs goes by the steps of the whole run, as in the
// library; others lower it in every run.
TEST(CompilePlan, TheWholeRunDecidesWhetherTheFinalOrderIsLowered) {
  const auto lowers = [](SamplerKind sampler, int steps, const RunOptions& run) {
    SamplerOptions options{.sampler = sampler, .steps = steps, .solver_order = 3};
    options.final_sigma = FinalSigma::kSigmaMin;
    const std::string lowered = Json(Compile(options, run));
    options.lower_order_final = false;
    return lowered != Json(Compile(options, run));
  };
  for (const RunOptions& run : {RunOptions{.strength = 0.5}, RunOptions{.denoising_start = 0.5},
                                RunOptions{.jump_length = 5, .resamples = 2}}) {
    for (SamplerKind sampler : {SamplerKind::kDpmSolver, SamplerKind::kDpmSolverPlusPlus,
                                SamplerKind::kSdeDpmSolverPlusPlus, SamplerKind::kDeis}) {
      EXPECT_TRUE(lowers(sampler, 14, run)) << SamplerName(sampler);
      EXPECT_FALSE(lowers(sampler, 15, run)) << SamplerName(sampler);
    }
    EXPECT_TRUE(lowers(SamplerKind::kUniPc, 15, run));
  }
  EXPECT_TRUE(lowers(SamplerKind::kDpmSolverPlusPlusSinglestep, 18, {.first_step = 6}));
}

// They are counted from the beginning of the whole run.
TEST(CompilePlan, DisabledCorrectorsKeepTheirSteps) {
  SamplerOptions options{.sampler = SamplerKind::kUniPc, .steps = 10};
  const std::string corrected = Json(Compile(options, {.first_step = 4}));
  options.disable_corrector = {1, 2};
  EXPECT_EQ(Json(Compile(options, {.first_step = 4})), corrected);
  options.disable_corrector = {1, 6};
  const SamplerPlan rest = Compile(options, {.first_step = 4});
  EXPECT_EQ(rest.evaluations[3].update(1, 0), 1) << "x as predicted is kept after step 6";
  EXPECT_EQ(rest.evaluations[2].update(1, 0), 0);
}

TEST(CompilePlan, CountsTheDrawsOfTheStepsLeftOut) {
  EXPECT_EQ(Compile({.sampler = SamplerKind::kDdpm, .steps = 10}, {.first_step = 4}).draws_left_out,
            4);
  EXPECT_EQ(Compile({.sampler = SamplerKind::kDdim, .steps = 10}, {.first_step = 4}).draws_left_out,
            0);
}

// x at the later level of `jump`, of which the signal is x0 and the noise has deviation 1, arrives
// at the level where the next segment begins.
TEST(CompilePlan, AJumpBackReachesTheEarlierLevel) {
  for (SamplerKind sampler : {SamplerKind::kDdim, SamplerKind::kDdpm, SamplerKind::kEuler,
                              SamplerKind::kEulerAncestral, SamplerKind::kHeun}) {
    SamplerOptions options{.sampler = sampler, .steps = 6};
    options.final_sigma = FinalSigma::kZero;
    const RunOptions run{.jump_length = 2, .resamples = 2};
    const SamplerPlan whole = Compile(options);
    const SamplerPlan plan = Compile(options, run);
    ASSERT_EQ(plan.NumSteps(), 10);

    size_t last = 0;  // the evaluation that ends step 4, before the jump
    for (int steps = 0; steps < 4; ++last) steps += plan.evaluations[last].ends_step;
    --last;
    const Evaluation& jump = plan.evaluations[last];
    const Evaluation& plain = whole.evaluations[last];
    const NoiseLevel later = whole.LevelAfter(last), earlier = plan.LevelAfter(last);
    EXPECT_GT(earlier.ratio(), later.ratio());

    const double shrink = earlier.alpha / later.alpha;
    for (int column = 0; column < jump.update.columns(); ++column) {
      EXPECT_DOUBLE_EQ(jump.update(0, column), shrink * plain.update(0, column));
      for (int row = 1; row < jump.update.rows(); ++row) {
        EXPECT_EQ(jump.update(row, column), plain.update(row, column));
      }
    }
    // Whatever of the later level's variance the step's own noise makes up, the sum is the earlier
    // level's.
    const double own = std::get<double>(plain.noise);
    const double kept = later.sigma * later.sigma - own * own;
    EXPECT_NEAR(shrink * shrink * kept + std::pow(std::get<double>(jump.noise), 2),
                earlier.sigma * earlier.sigma, 1e-9)
        << SamplerName(sampler);
  }
}

// Each segment begins with what such a run begins with, whatever the sampler remembers.
TEST(CompilePlan, JumpsWorkForSamplersOfAnyHistory) {
  for (const SamplerOptions& options : std::initializer_list<SamplerOptions>{
           {.sampler = SamplerKind::kUniPc, .steps = 6, .solver_order = 3},
           {.sampler = SamplerKind::kPlms, .steps = 6},
           {.sampler = SamplerKind::kDeis, .steps = 6, .solver_order = 3},
           {.sampler = SamplerKind::kDpmSolverPlusPlusSinglestep, .steps = 6},
           {.sampler = SamplerKind::kLcm, .steps = 6}}) {
    const SamplerPlan plan = Compile(options, {.jump_length = 2, .resamples = 2});
    EXPECT_EQ(plan.NumSteps(), 10) << SamplerName(options.sampler);
    const SamplerPlan rest = Compile(options, {.first_step = 2});
    size_t second = 0;  // the evaluation after the first jump, two steps back from the fourth step
    for (int steps = 0; steps < 4; ++second) steps += plan.evaluations[second].ends_step;
    EXPECT_EQ(plan.evaluations[second].timestep, rest.evaluations[0].timestep)
        << SamplerName(options.sampler);
  }
}

TEST(CompilePlan, StepsOfTwoMovesNeitherStartMidwayNorJump) {
  for (const SamplerOptions& options : std::initializer_list<SamplerOptions>{
           {.sampler = SamplerKind::kPndm, .steps = 8},
           {.sampler = SamplerKind::kTcd, .steps = 8, .eta = 0.3},
           {.sampler = SamplerKind::kHeun, .steps = 8, .s_churn = 4}}) {
    EXPECT_TRUE(CompilePlan(LinearSchedule(), options).ok());
    EXPECT_EQ(RefusedField(CompilePlan(LinearSchedule(), options, {.strength = 0.5}).status()),
              "sampler");
  }
}

TEST(CompilePlan, EverySegmentButTheLastEndsLikeTheMiddleOfARun) {
  const SamplerOptions options{.sampler = SamplerKind::kHeun, .steps = 6};
  const SamplerPlan whole = Compile(options);
  const SamplerPlan plan = Compile(options, {.jump_length = 2, .resamples = 2});
  std::vector<double> timesteps, expected;
  for (const Evaluation& evaluation : plan.evaluations) timesteps.push_back(evaluation.timestep);
  // Steps 0 to 3, 2 to 5 and 4 to 5; all have two evaluations but step 5.
  for (size_t e : {0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7, 8, 9, 10, 8, 9, 10}) {
    expected.push_back(whole.evaluations[e].timestep);
  }
  EXPECT_EQ(timesteps, expected);
}

TEST(CompilePlan, LearnedNoiseCannotJump) {
  const SamplerOptions options{
      .sampler = SamplerKind::kDdpm, .steps = 6, .variance_type = VarianceType::kLearnedRange};
  const auto plan = CompilePlan(LinearSchedule(), options, {.jump_length = 2, .resamples = 2});
  EXPECT_EQ(RefusedField(plan.status()), "variance_type");
}

// E[epsilon | x] of Gaussian data with this mean and deviation, as the network predicts it.
struct ExactEpsilon {
  double mean = 0.4;
  double deviation = 0.5;

  NetworkOutput operator()(const Values& x, const Evaluation& evaluation) const {
    const Schedule schedule = LinearSchedule();
    const double floor = std::floor(evaluation.timestep), part = evaluation.timestep - floor;
    const int t = static_cast<int>(floor);
    const double alpha = (1 - part) * schedule.alpha(t) + part * schedule.alpha(t + (part > 0));
    const double sigma = std::sqrt(1 - alpha * alpha);
    Values epsilon;
    for (double value : x) {
      epsilon.push_back(sigma * (value - alpha * mean) /
                        (alpha * alpha * deviation * deviation + sigma * sigma));
    }
    return {epsilon, {}};
  }
};

Values RunPlan(const SamplerPlan& plan, Values start) {
  return ReplayPlan(plan, {std::move(start)}, {.network = ExactEpsilon(), .noise = {}}).slots[0];
}

// How far a picture is from itself after its inversion and the way back.
double RoundTripError(const SamplerOptions& options) {
  const Values picture = {-0.9, 0.1, 0.4, 1.0};
  Values noise = RunPlan(Compile(options, {.inverted = true}), picture);
  const SamplerPlan forward = Compile(options);
  for (double& value : noise) value *= forward.init_noise_scale;
  const Values again = RunPlan(forward, noise);
  double error = 0;
  for (size_t i = 0; i < picture.size(); ++i) {
    error = std::max(error, std::abs(again[i] - picture[i]));
  }
  return error;
}

TEST(CompileInversion, TheRoundTripReturnsToThePicture) {
  for (SamplerKind sampler : {SamplerKind::kDdim, SamplerKind::kEuler}) {
    const SamplerOptions options{.sampler = sampler, .steps = 100};
    SamplerOptions more = options;
    more.steps = 200;
    EXPECT_LT(RoundTripError(options), 0.01) << SamplerName(sampler);
    EXPECT_LT(RoundTripError(more), 0.3 * RoundTripError(options)) << "the error is of order 2";
  }
}

// The same data under EDM's schedule, where the network's inputs are log(sigma) / 4 and x divided
// by its deviation.
TEST(CompileInversion, TheRoundTripReturnsToThePictureInEdmsSigmas) {
  const ExactEpsilon data;
  const Schedule schedule = *Schedule::Create(EdmOptions());
  const auto network = [&](const Values& input, const Evaluation& evaluation) {
    const double sigma = schedule.sigma(evaluation.timestep);
    const double noise = sigma * sigma, signal = data.deviation * data.deviation;
    NetworkOutput output;
    for (double value : input) {
      const double x = value / evaluation.input_scale;
      const double x0 = (noise * data.mean + signal * x) / (noise + signal);
      output.mean.push_back((x0 - evaluation.x0_from_state * x) / evaluation.x0_from_output);
    }
    return output;
  };
  const SamplerOptions options{
      .sampler = SamplerKind::kEuler, .steps = 200, .sigma_spacing = SigmaSpacing::kKarras};
  const Values picture = {-0.1, 0.4, 1.0};
  const SamplerPlan back = *CompilePlan(schedule, options, {.inverted = true});
  Values x = ReplayPlan(back, {picture}, {.network = network, .noise = {}}).slots[0];
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_NEAR(x[i], (picture[i] - data.mean) / data.deviation, 0.15) << "in deviations";
  }
  const SamplerPlan forward = *CompilePlan(schedule, options);
  for (double& value : x) value *= forward.init_noise_scale;
  x = ReplayPlan(forward, {x}, {.network = network, .noise = {}}).slots[0];
  for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], picture[i], 0.05);
}

// The exact flow keeps a picture's place in its distribution: so many deviations from the mean.
TEST(CompileInversion, ThePictureBecomesTheNoiseAtItsQuantile) {
  const ExactEpsilon data;
  const SamplerPlan plan =
      Compile({.sampler = SamplerKind::kDdim, .steps = 500}, {.inverted = true});
  const Values noise = RunPlan(plan, {data.mean - data.deviation, data.mean + 2 * data.deviation});
  EXPECT_NEAR(noise[0], -1, 0.05);
  EXPECT_NEAR(noise[1], 2, 0.05);
  EXPECT_EQ(plan.evaluations.front().alpha, 1);
  EXPECT_EQ(plan.evaluations.front().sigma, 0);
  EXPECT_NEAR(plan.final_sigma, 1, 1e-3);
}

TEST(CompileInversion, OnlyWhatAddsNoNoiseCanBeInverted) {
  const auto refused = [](const SamplerOptions& options) {
    return RefusedField(CompilePlan(LinearSchedule(), options, {.inverted = true}).status());
  };
  EXPECT_EQ(refused({.sampler = SamplerKind::kDdpm}), "sampler");
  EXPECT_EQ(refused({.sampler = SamplerKind::kUniPc}), "sampler");
  EXPECT_EQ(refused({.sampler = SamplerKind::kDdim, .eta = 0.1}), "eta");
  EXPECT_EQ(refused({.sampler = SamplerKind::kEuler, .s_churn = 1}), "s_churn");
}

TEST(CompileInversion, NothingIsClipped) {
  const SamplerPlan plan =
      Compile({.sampler = SamplerKind::kDdim, .steps = 5, .clip_sample = true}, {.inverted = true});
  for (const Evaluation& evaluation : plan.evaluations) {
    EXPECT_TRUE(std::holds_alternative<std::monostate>(evaluation.clip));
  }
}

}  // namespace
}  // namespace denoise
