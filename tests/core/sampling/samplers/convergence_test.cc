// How fast each sampler converges, where the exact answer is known.
//
// For Gaussian data N(mean, deviation^2), and for mixtures of it, the best denoiser and the flow of
// the diffusion ODE are known. Each run goes between two fixed log-SNRs in n equal steps of lambda,
// with levels that are not rounded to training timesteps and noise left at the end; halving the
// step divides the error by 2^order.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "core/sampling/samplers/noise_path.h"
#include "tests/core/sampling/samplers/gaussian_data.h"
#include "tests/core/sampling/samplers/plan_replay.h"

namespace denoise {
namespace {

constexpr int kCoarseSteps = 1200;  // whole blocks of singlestep solvers

// One value of the image each.
constexpr Gaussian kGaussians[] = {{0.5, 0.3}, {-1.0, 2.0}};
using Data = std::vector<Mixture>;
const Data kGaussianData = {{kGaussians[0]}, {kGaussians[1]}};
const Data kMixtureData = {{{-1, 0.4}, {0.8, 0.3}}};

enum class Line { kPreserving, kEdm, kFlow };

NoiseLevel LevelAt(double lambda, Line line) {
  const double ratio = std::exp(-lambda);
  if (line == Line::kFlow) return {1 / (1 + ratio), ratio / (1 + ratio)};
  return line == Line::kEdm ? NoiseLevel{1, ratio} : LevelOfLambda(lambda);
}

// Where the ODE that ends one standard deviation out, or at the same quantile, stands at `level`.
Values ExactState(const Data& data, const NoiseLevel& level) {
  const double probability = CumulativeProbability({{0, 1}}, {1, 0}, 1);
  Values state;
  for (const Mixture& mixture : data) state.push_back(Quantile(mixture, level, probability));
  return state;
}

Values PerfectOutputs(const Data& data, const Values& state, PredictionType type,
                      const NoiseLevel& level) {
  Values outputs;
  for (size_t i = 0; i < state.size(); ++i)
    outputs.push_back(OutputFor(Denoise(data[i], level, state[i]), type, level, state[i]));
  return outputs;
}

// What a solver remembers of an earlier point of the trajectory: the predicted x0, or epsilon.
Values ModelValue(const Data& data, const NoiseLevel& level, SamplerKind sampler) {
  const bool noise = sampler == SamplerKind::kDpmSolver || sampler == SamplerKind::kDeis;
  return PerfectOutputs(data, ExactState(data, level),
                        noise ? PredictionType::kEpsilon : PredictionType::kSample, level);
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
double FinalError(const Data& data, const SamplerOptions& options, int steps, int exact_steps,
                  Line line) {
  const NoisePath path = UniformPath(steps, line);
  const SamplerPlan plan = CompilePath(path, options);
  const Evaluation& first = plan.evaluations[exact_steps];
  std::vector<Values> slots = {ExactState(data, {first.alpha, first.sigma})};
  for (int back = 1; back <= exact_steps; ++back) {
    slots.push_back(ModelValue(data, path[exact_steps - back].from, options.sampler));
  }
  const auto network = [&](const Values& input, const Evaluation& at) {
    Values output;
    for (size_t i = 0; i < input.size(); ++i) {
      const double x = input[i] / at.input_scale;
      output.push_back(OutputReadAs(Denoise(data[i], {at.alpha, at.sigma}, x), at, input[i]));
    }
    return NetworkOutput{output, {}};
  };
  const Replayed replayed = ReplayPlan(
      plan, slots, {.network = network, .first_evaluation = static_cast<size_t>(exact_steps)});
  const Values exact = ExactState(data, {plan.final_alpha, plan.final_sigma});
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
  for (const auto& [data, data_name] :
       {std::pair(kGaussianData, "Gaussian"), std::pair(kMixtureData, "a mixture")}) {
    const double coarse = FinalError(data, options, kCoarseSteps, exact_steps, line);
    const double fine = FinalError(data, options, 2 * kCoarseSteps, exact_steps, line);
    const double order = std::log2(coarse / fine);
    std::printf("%s, %s: error %.3g with %d steps, order %.3f\n", name, data_name, fine,
                2 * kCoarseSteps, order);
    EXPECT_NEAR(order, expected_order, 0.05) << data_name;
  }
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
constexpr SamplerKind kDpmS = SamplerKind::kDpmSolverSinglestep;
constexpr SamplerKind kDpmppS = SamplerKind::kDpmSolverPlusPlusSinglestep;
constexpr SamplerKind kDeis = SamplerKind::kDeis;
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
        OrderCase{"DpmSolverSinglestep1", 1, Solver(kDpmS, 1, SolverType::kMidpoint)},
        OrderCase{"DpmSolverSinglestep2Midpoint", 2, Solver(kDpmS, 2, SolverType::kMidpoint)},
        OrderCase{"DpmSolverSinglestep2Heun", 2, Solver(kDpmS, 2, SolverType::kHeun)},
        OrderCase{"DpmSolverSinglestep3Midpoint", 3, Solver(kDpmS, 3, SolverType::kMidpoint)},
        OrderCase{"DpmSolverSinglestep3Heun", 3, Solver(kDpmS, 3, SolverType::kHeun)},
        OrderCase{"DpmSolverPlusPlusSinglestep2", 2, Solver(kDpmppS, 2, SolverType::kMidpoint)},
        OrderCase{"DpmSolverPlusPlusSinglestep3", 3, Solver(kDpmppS, 3, SolverType::kMidpoint)},
        OrderCase{"DpmSolverPlusPlusSinglestep3Heun", 3, Solver(kDpmppS, 3, SolverType::kHeun)},
        OrderCase{"Deis1", 1, {.sampler = kDeis, .solver_order = 1}},
        OrderCase{"Deis2", 2, {.sampler = kDeis, .solver_order = 2}},
        OrderCase{"Deis3", 3, {.sampler = kDeis, .solver_order = 3}, 2},
        OrderCase{"UniPc1Bh1", 2, Solver(kUniPc, 1, SolverType::kBh1)},
        OrderCase{"UniPc1Bh2", 2, Solver(kUniPc, 1, SolverType::kBh2)},
        OrderCase{"UniPc2Bh1", 3, Solver(kUniPc, 2, SolverType::kBh1)},
        OrderCase{"UniPc2Bh2", 3, Solver(kUniPc, 2, SolverType::kBh2)},
        OrderCase{"Euler", 1, {.sampler = SamplerKind::kEuler}},
        OrderCase{"Heun", 2, {.sampler = SamplerKind::kHeun}},
        OrderCase{"Pndm", 2, {.sampler = SamplerKind::kPndm}},
        OrderCase{"Plms", 2, {.sampler = SamplerKind::kPlms}},
        OrderCase{"TcdWithoutNoise", 1, {.sampler = SamplerKind::kTcd}},
        OrderCase{"VpOde", 1, {.sampler = SamplerKind::kVpOde}},
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

// How far the images that a stochastic sampler makes are from the data in mean and deviation.
double MomentError(const SamplerOptions& options, int steps) {
  const SamplerPlan plan = CompilePath(UniformPath(steps, Line::kPreserving), options);
  const NoiseLevel first = {plan.evaluations[0].alpha, plan.evaluations[0].sigma};
  double error = 0;
  for (const Gaussian& data : kGaussians) {
    const Gaussian made =
        DistributionAfter(plan, Noised(data, first), data, PredictionType::kSample);
    const Gaussian exact = Noised(data, {plan.final_alpha, plan.final_sigma});
    error = std::max(
        {error, std::abs(made.mean - exact.mean), std::abs(made.deviation - exact.deviation)});
  }
  return error;
}

struct MomentCase {
  const char* name;
  double expected_order;
  SamplerOptions options;
};

void PrintTo(const MomentCase& moment_case, std::ostream* stream) { *stream << moment_case.name; }

class Moments : public testing::TestWithParam<MomentCase> {};

TEST_P(Moments, ConvergeToThoseOfTheData) {
  SamplerOptions options = GetParam().options;
  options.prediction_type = PredictionType::kSample;
  options.lower_order_final = false;
  const double coarse = MomentError(options, kCoarseSteps);
  const double fine = MomentError(options, 2 * kCoarseSteps);
  const double order = std::log2(coarse / fine);
  std::printf("%s: moments within %.3g with %d steps, order %.3f\n", GetParam().name, fine,
              2 * kCoarseSteps, order);
  EXPECT_LT(coarse, 0.006);
  EXPECT_NEAR(order, GetParam().expected_order, 0.05);
}

constexpr SamplerKind kSde = SamplerKind::kSdeDpmSolverPlusPlus;
constexpr SamplerKind kSdeS = SamplerKind::kSdeDpmSolverPlusPlusSinglestep;

INSTANTIATE_TEST_SUITE_P(
    All, Moments,
    testing::Values(MomentCase{"Ddpm", 1, {.sampler = SamplerKind::kDdpm}},
                    MomentCase{"DdimEta1", 1, {.sampler = SamplerKind::kDdim, .eta = 1}},
                    MomentCase{"SdeDpmSolverPlusPlus1", 1, Solver(kSde, 1, SolverType::kMidpoint)},
                    MomentCase{"SdeDpmSolverPlusPlus2", 2, Solver(kSde, 2, SolverType::kMidpoint)},
                    MomentCase{"SdeDpmSolverPlusPlus2Heun", 2, Solver(kSde, 2, SolverType::kHeun)},
                    // Approaches 1 slowly.
                    MomentCase{"SdeDpmSolverPlusPlus3", 0.95,
                               Solver(kSde, 3, SolverType::kMidpoint)},
                    MomentCase{"SdeDpmSolverPlusPlus3Corrected",
                               2,
                               {.sampler = kSde,
                                .solver_order = 3,
                                .solver_type = SolverType::kMidpoint,
                                .corrected_third_order = true}},
                    MomentCase{"SdeSinglestep2", 1, Solver(kSdeS, 2, SolverType::kMidpoint)},
                    MomentCase{"SdeSinglestep2Heun", 1, Solver(kSdeS, 2, SolverType::kHeun)},
                    MomentCase{"VpSde", 1, {.sampler = SamplerKind::kVpSde}},
                    MomentCase{"EulerAncestral", 1, {.sampler = SamplerKind::kEulerAncestral}}),
    [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace denoise
