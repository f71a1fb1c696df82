// How fast each sampler converges, where the exact answer is known.
//
// For Gaussian data N(mean, deviation^2) the best denoiser and the flow of the diffusion ODE have
// closed forms. Each run goes between two fixed log-SNRs in n equal steps of lambda, with levels
// that are not rounded to training timesteps and noise left at the end; halving the step divides
// the error by 2^order.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ostream>
#include <string>
#include <variant>
#include <vector>

#include "core/sampling/noise_path.h"
#include "tests/core/sampling/plan_replay.h"

namespace denoise {
namespace {

struct Gaussian {
  double mean;
  double deviation;
};

// One value of the image each.
constexpr Gaussian kData[] = {{0.5, 0.3}, {-1.0, 2.0}};

enum class Line { kPreserving, kEdm, kFlow };

NoiseLevel LevelAt(double lambda, Line line) {
  const double ratio = std::exp(-lambda);
  const double alpha = line == Line::kPreserving ? 1 / std::hypot(1, ratio)
                       : line == Line::kFlow     ? 1 / (1 + ratio)
                                                 : 1;
  return {alpha, alpha * ratio};
}

double Deviation(const Gaussian& data, const NoiseLevel& level) {
  return std::hypot(level.alpha * data.deviation, level.sigma);
}

// E[x0 | x]
double Denoise(const Gaussian& data, const NoiseLevel& level, double x) {
  const double variance = std::pow(Deviation(data, level), 2);
  return data.mean +
         level.alpha * data.deviation * data.deviation / variance * (x - level.alpha * data.mean);
}

// Where the ODE through `x0 = mean + deviation`, one standard deviation out, stands at `level`.
Values ExactState(const NoiseLevel& level) {
  Values state;
  for (const Gaussian& data : kData)
    state.push_back(level.alpha * data.mean + Deviation(data, level));
  return state;
}

Values DenoiseAll(const Values& state, const NoiseLevel& level) {
  Values denoised;
  for (size_t i = 0; i < state.size(); ++i) denoised.push_back(Denoise(kData[i], level, state[i]));
  return denoised;
}

// The network that says of what a plan shows it what the plan reads as the best x0.
NetworkOutput BestDenoiser(const Values& input, const Evaluation& at) {
  Values x = input;
  for (double& value : x) value /= at.input_scale;
  Values output = DenoiseAll(x, {at.alpha, at.sigma});
  for (size_t i = 0; i < x.size(); ++i) {
    output[i] = (output[i] - at.x0_from_state * x[i]) / at.x0_from_output;
  }
  return {output, {}};
}

// What a solver remembers of an earlier point of the trajectory: the predicted x0, or epsilon.
Values ModelValue(const NoiseLevel& level, SamplerKind sampler) {
  const Values state = ExactState(level);
  Values value = DenoiseAll(state, level);
  if (sampler != SamplerKind::kDpmSolver) return value;
  for (size_t i = 0; i < value.size(); ++i)
    value[i] = (state[i] - level.alpha * value[i]) / level.sigma;
  return value;
}

NoisePath UniformPath(int steps, Line line) {
  constexpr double kFirstLambda = -1.5, kLastLambda = 2;
  NoisePath path;
  for (int i = 0; i < steps; ++i) {
    const double h = (kLastLambda - kFirstLambda) / steps;
    path.push_back(
        {1.0 * i, LevelAt(kFirstLambda + i * h, line), LevelAt(kFirstLambda + (i + 1) * h, line)});
    if (line == Line::kEdm) path.back().preconditioning = Preconditioning{.sigma_data = 0.5};
  }
  return path;
}

// The error at the end. The first `exact_steps` steps are replaced by the exact trajectory, its
// history included: multistep solvers begin with order 1, and the error of that one step would hide
// an order of 3.
double FinalError(const SamplerOptions& options, int steps, int exact_steps, Line line) {
  const NoisePath path = UniformPath(steps, line);
  const SamplerPlan plan = CompilePath(path, options);
  const Evaluation& first = plan.evaluations[exact_steps];
  std::vector<Values> slots = {ExactState({first.alpha, first.sigma})};
  for (int back = 1; back <= exact_steps; ++back) {
    slots.push_back(ModelValue(path[exact_steps - back].from, options.sampler));
  }
  const Replayed replayed = ReplayPlan(
      plan, slots, {.network = BestDenoiser, .first_evaluation = static_cast<size_t>(exact_steps)});
  const Values exact = ExactState({plan.final_alpha, plan.final_sigma});
  double error = 0;
  for (size_t i = 0; i < exact.size(); ++i)
    error = std::max(error, std::abs(replayed.slots[0][i] - exact[i]));
  return error;
}

struct OrderCase {
  const char* name;
  double expected_order;
  SamplerOptions options;
  int exact_steps = 0;
  Line line = Line::kPreserving;
};

void PrintTo(const OrderCase& order_case, std::ostream* stream) { *stream << order_case.name; }

class Convergence : public testing::TestWithParam<OrderCase> {};

TEST_P(Convergence, HasTheOrderOfItsPaper) {
  SamplerOptions options = GetParam().options;
  const auto [name, expected_order, given, exact_steps, line] = GetParam();
  options.prediction_type = line == Line::kPreserving ? PredictionType::kSample
                            : line == Line::kFlow     ? PredictionType::kFlowPrediction
                                                      : PredictionType::kEpsilon;
  options.lower_order_final = false;
  const double coarse = FinalError(options, 1000, exact_steps, line);
  const double fine = FinalError(options, 2000, exact_steps, line);
  const double order = std::log2(coarse / fine);
  RecordProperty("order", std::to_string(order));
  std::printf("%s: error %.3g with 2000 steps, order %.3f\n", GetParam().name, fine, order);
  EXPECT_NEAR(order, GetParam().expected_order, 0.05);
}

SamplerOptions Solver(SamplerKind sampler, int order, SolverType type) {
  return {.sampler = sampler, .solver_order = order, .solver_type = type};
}

SamplerOptions Corrected(SamplerOptions options) {
  options.corrected_third_order = true;
  return options;
}

constexpr SamplerKind kDpm = SamplerKind::kDpmSolver;
constexpr SamplerKind kDpmpp = SamplerKind::kDpmSolverPlusPlus;
constexpr SamplerKind kUniPc = SamplerKind::kUniPc;

INSTANTIATE_TEST_SUITE_P(
    All, Convergence,
    testing::Values(
        OrderCase{"Ddim", 1, {.sampler = SamplerKind::kDdim}},
        OrderCase{"DpmSolver1", 1, Solver(kDpm, 1, SolverType::kMidpoint)},
        OrderCase{"DpmSolver2Midpoint", 2, Solver(kDpm, 2, SolverType::kMidpoint)},
        OrderCase{"DpmSolver2Heun", 2, Solver(kDpm, 2, SolverType::kHeun)},
        OrderCase{"DpmSolver3Published", 2, Solver(kDpm, 3, SolverType::kMidpoint), 2},
        OrderCase{"DpmSolver3Corrected", 3, Corrected(Solver(kDpm, 3, SolverType::kMidpoint)), 2},
        OrderCase{"DpmSolverPlusPlus1", 1, Solver(kDpmpp, 1, SolverType::kMidpoint)},
        OrderCase{"DpmSolverPlusPlus2Midpoint", 2, Solver(kDpmpp, 2, SolverType::kMidpoint)},
        OrderCase{"DpmSolverPlusPlus2Heun", 2, Solver(kDpmpp, 2, SolverType::kHeun)},
        OrderCase{"DpmSolverPlusPlus3Published", 2, Solver(kDpmpp, 3, SolverType::kMidpoint), 2},
        OrderCase{"DpmSolverPlusPlus3FromScratch", 2, Solver(kDpmpp, 3, SolverType::kMidpoint)},
        OrderCase{"DpmSolverPlusPlus3Corrected", 3,
                  Corrected(Solver(kDpmpp, 3, SolverType::kMidpoint)), 2},
        OrderCase{"UniPc1Bh1", 2, Solver(kUniPc, 1, SolverType::kBh1)},
        OrderCase{"UniPc1Bh2", 2, Solver(kUniPc, 1, SolverType::kBh2)},
        OrderCase{"UniPc2Bh1", 3, Solver(kUniPc, 2, SolverType::kBh1)},
        OrderCase{"UniPc2Bh2", 3, Solver(kUniPc, 2, SolverType::kBh2)},
        OrderCase{"Euler", 1, {.sampler = SamplerKind::kEuler}},
        OrderCase{"Heun", 2, {.sampler = SamplerKind::kHeun}},
        OrderCase{"EdmEuler", 1, {.sampler = SamplerKind::kEuler}, 0, Line::kEdm},
        OrderCase{"EdmHeun", 2, {.sampler = SamplerKind::kHeun}, 0, Line::kEdm},
        OrderCase{"EdmDpmSolverPlusPlus2", 2, Solver(kDpmpp, 2, SolverType::kMidpoint), 0,
                  Line::kEdm},
        OrderCase{"EdmUniPc2", 3, Solver(kUniPc, 2, SolverType::kBh2), 0, Line::kEdm},
        OrderCase{"FlowEuler", 1, {.sampler = SamplerKind::kEuler}, 0, Line::kFlow},
        OrderCase{"FlowHeun", 2, {.sampler = SamplerKind::kHeun}, 0, Line::kFlow},
        OrderCase{"FlowDpmSolverPlusPlus2", 2, Solver(kDpmpp, 2, SolverType::kMidpoint), 0,
                  Line::kFlow},
        OrderCase{"FlowUniPc2", 3, Solver(kUniPc, 2, SolverType::kBh2), 0, Line::kFlow}),
    [](const auto& instance) { return instance.param.name; });

// How far the images that a stochastic sampler makes are from the
// data in mean and deviation. Every step is affine, so that both are known without drawing.
double MomentError(const SamplerOptions& options, int steps) {
  const SamplerPlan plan = CompilePath(UniformPath(steps, Line::kPreserving), options);
  const Evaluation& first = plan.evaluations[0];
  Values mean, one_above, variance;
  for (const Gaussian& data : kData) {
    mean.push_back(first.alpha * data.mean);
    variance.push_back(std::pow(Deviation(data, {first.alpha, first.sigma}), 2));
  }
  for (const Evaluation& evaluation : plan.evaluations) {
    SamplerPlan step{.slots = plan.slots, .evaluations = {evaluation}};
    step.evaluations[0].noise = 0.0;
    one_above = mean;
    for (double& value : one_above) value += 1;
    mean = ReplayPlan(step, {mean}, {.network = BestDenoiser}).slots[0];
    one_above = ReplayPlan(step, {one_above}, {.network = BestDenoiser}).slots[0];
    const double noise = std::get<double>(evaluation.noise);
    for (size_t i = 0; i < mean.size(); ++i) {
      variance[i] = std::pow(one_above[i] - mean[i], 2) * variance[i] + noise * noise;
    }
  }
  double error = 0;
  for (size_t i = 0; i < mean.size(); ++i) {
    const double deviation = Deviation(kData[i], {plan.final_alpha, plan.final_sigma});
    error = std::max(error, std::abs(mean[i] - plan.final_alpha * kData[i].mean));
    error = std::max(error, std::abs(std::sqrt(variance[i]) - deviation));
  }
  return error;
}

TEST(Distribution, EulerAncestralArrivesAtTheMomentsOfTheData) {
  const SamplerOptions options{.sampler = SamplerKind::kEulerAncestral,
                               .prediction_type = PredictionType::kSample};
  const double coarse = MomentError(options, 1000);
  const double fine = MomentError(options, 2000);
  std::printf("EulerAncestral: moments within %.3g with 2000 steps\n", fine);
  EXPECT_LT(coarse, 0.005);
  EXPECT_NEAR(std::log2(coarse / fine), 1, 0.05);
}

}  // namespace
}  // namespace denoise
