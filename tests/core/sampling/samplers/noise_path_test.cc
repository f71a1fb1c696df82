// What every sampler must keep, whatever its formula: images of one known picture stay where the
// forward process puts them.
#include "core/sampling/samplers/noise_path.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "core/sampling/options/option_names.h"
#include "core/sampling/samplers/path_nodes.h"
#include "tests/core/sampling/samplers/gaussian_data.h"
#include "tests/core/sampling/samplers/plan_replay.h"

namespace denoise {
namespace {

constexpr double kPicture = 0.7;

// Unequal steps, down to no noise at all.
NoisePath PathThrough(const std::vector<NoiseLevel>& levels) {
  NoisePath path;
  for (size_t i = 0; i < levels.size(); ++i) {
    path.push_back({.timestep = 100.0 - i,
                    .from = levels[i],
                    .to = i + 1 < levels.size() ? levels[i + 1] : NoiseLevel{1, 0},
                    .end_timestep = 99.0 - i});
  }
  return path;
}

NoisePath PreservingPath() {
  std::vector<NoiseLevel> levels;
  for (double lambda : {-3.0, -2.2, -1.0, -0.6, 0.5, 1.1, 2.0})
    levels.push_back(LevelOfLambda(lambda));
  return PathThrough(levels);
}

NoisePath FlowPath() {
  return PathThrough({{0.01, 0.99}, {0.2, 0.8}, {0.5, 0.5}, {0.6, 0.4}, {0.9, 0.1}});
}

NoisePath EdmPath() {
  NoisePath path = PathThrough({{1, 80}, {1, 10}, {1, 3}, {1, 0.5}, {1, 0.1}, {1, 0.01}});
  for (Move& move : path) move.preconditioning = Preconditioning{.sigma_data = 0.5};
  return path;
}

struct SamplerCase {
  std::string name;
  SamplerOptions options;
  bool flow = false;
  bool edm = false;
};

void PrintTo(const SamplerCase& sampler_case, std::ostream* stream) {
  *stream << sampler_case.name;
}

void AddPredictions(SamplerCase sampler_case, std::vector<SamplerCase>& cases) {
  const std::string name = sampler_case.name;
  for (const auto& [prediction, type] : kNames<PredictionType>) {
    if (IsFlow(type)) continue;
    sampler_case.options.prediction_type = type;
    sampler_case.name = name + "_" + std::string(prediction);
    cases.push_back(sampler_case);
  }
}

std::vector<SamplerCase> AllSamplers() {
  std::vector<SamplerCase> cases;
  AddPredictions({"ddpm", {.sampler = SamplerKind::kDdpm}}, cases);
  for (double eta : {0.0, 0.5, 1.0}) {
    for (bool clipped : {false, true}) {
      const std::string name =
          "ddim_eta" + std::to_string(static_cast<int>(10 * eta)) + (clipped ? "_clipped" : "");
      AddPredictions(
          {name, {.sampler = SamplerKind::kDdim, .eta = eta, .use_clipped_model_output = clipped}},
          cases);
    }
  }
  for (int order : {1, 2, 3}) {
    AddPredictions(
        {"deis" + std::to_string(order), {.sampler = SamplerKind::kDeis, .solver_order = order}},
        cases);
    for (SolverType type : {SolverType::kMidpoint, SolverType::kHeun}) {
      const std::string suffix = std::to_string(order) + "_" + std::string(NameOf(type));
      for (SamplerKind sampler :
           {SamplerKind::kDpmSolver, SamplerKind::kDpmSolverPlusPlus,
            SamplerKind::kSdeDpmSolverPlusPlus, SamplerKind::kDpmSolverSinglestep,
            SamplerKind::kDpmSolverPlusPlusSinglestep,
            SamplerKind::kSdeDpmSolverPlusPlusSinglestep}) {
        SamplerCase solver{std::string(SamplerName(sampler)) + suffix,
                           {.sampler = sampler,
                            .solver_order = order,
                            .solver_type = type,
                            .lower_order_final = false}};
        AddPredictions(solver, cases);
        solver.flow = true;
        solver.options.prediction_type = PredictionType::kFlowPrediction;
        solver.name += "_flow";
        cases.push_back(solver);
      }
    }
    for (SolverType type : {SolverType::kBh1, SolverType::kBh2}) {
      AddPredictions({"unipc" + std::to_string(order) + "_" + std::string(NameOf(type)),
                      {.sampler = SamplerKind::kUniPc, .solver_order = order, .solver_type = type}},
                     cases);
    }
  }
  AddPredictions({"euler", {.sampler = SamplerKind::kEuler}}, cases);
  AddPredictions({"euler_a", {.sampler = SamplerKind::kEulerAncestral}}, cases);
  AddPredictions({"heun", {.sampler = SamplerKind::kHeun}}, cases);
  AddPredictions({"pndm", {.sampler = SamplerKind::kPndm}}, cases);
  AddPredictions({"plms", {.sampler = SamplerKind::kPlms}}, cases);
  AddPredictions({"tcd", {.sampler = SamplerKind::kTcd}}, cases);
  // All but the last 1e-12 of its boundary condition is the predicted image.
  AddPredictions({"lcm", {.sampler = SamplerKind::kLcm, .timestep_scaling = 1e5}}, cases);
  AddPredictions({"consistency", {.sampler = SamplerKind::kConsistency}}, cases);
  for (SamplerKind sampler :
       {SamplerKind::kEuler, SamplerKind::kHeun, SamplerKind::kConsistency, SamplerKind::kUniPc}) {
    for (const auto& [prediction, type] : kNames<PredictionType>) {
      if (!IsFlow(type)) continue;
      cases.push_back({std::string(SamplerName(sampler)) + "_" + std::string(prediction),
                       {.sampler = sampler, .prediction_type = type},
                       /*flow=*/true});
    }
  }
  for (SamplerKind sampler :
       {SamplerKind::kEuler, SamplerKind::kEulerAncestral, SamplerKind::kHeun,
        SamplerKind::kDpmSolver, SamplerKind::kDpmSolverPlusPlus,
        SamplerKind::kSdeDpmSolverPlusPlus, SamplerKind::kUniPc, SamplerKind::kConsistency}) {
    for (PredictionType type : {PredictionType::kEpsilon, PredictionType::kVPrediction}) {
      cases.push_back({std::string(SamplerName(sampler)) + "_edm_" + std::string(NameOf(type)),
                       {.sampler = sampler, .prediction_type = type},
                       /*flow=*/false,
                       /*edm=*/true});
    }
  }
  return cases;
}

class EverySampler : public testing::TestWithParam<SamplerCase> {
 protected:
  NoisePath path() const {
    return GetParam().edm ? EdmPath() : GetParam().flow ? FlowPath() : PreservingPath();
  }
};

// With one picture for all data a perfect network leaves nothing to be solved: the image stays
// alpha * picture + sigma * noise, whatever part of the noise is fresh.
TEST_P(EverySampler, StaysOnTheForwardProcess) {
  const SamplerPlan plan = CompilePath(path(), GetParam().options);
  const Gaussian picture = {kPicture, 0};
  const NoiseLevel first = {plan.evaluations[0].alpha, plan.evaluations[0].sigma};
  std::optional<PredictionType> type = GetParam().options.prediction_type;
  if (GetParam().edm) type.reset();
  const double tolerance = 1e-9 * std::max(1.0, Square(first.sigma));
  SamplerPlan begun{.slots = plan.slots};
  for (size_t e = 0; e < plan.evaluations.size(); ++e) {
    begun.evaluations.push_back(plan.evaluations[e]);
    const bool last = e + 1 == plan.evaluations.size();
    const NoiseLevel level =
        last ? NoiseLevel{plan.final_alpha, plan.final_sigma}
             : NoiseLevel{plan.evaluations[e + 1].alpha, plan.evaluations[e + 1].sigma};
    const Gaussian made = DistributionAfter(begun, Noised(picture, first), picture, type);
    EXPECT_NEAR(made.mean, level.alpha * kPicture, tolerance) << "after " << e;
    EXPECT_NEAR(Square(made.deviation), Square(level.sigma), tolerance) << "after " << e;
  }
}

int SlotsOf(const SamplerOptions& options) {
  const int order = options.solver_order;
  switch (options.sampler) {
    case SamplerKind::kHeun:
      return 2;
    case SamplerKind::kPlms:
      return 5;
    case SamplerKind::kPndm:
      return 6;
    case SamplerKind::kUniPc:
      return order + 2;
    default:
      if (!SamplerReads(options.sampler, "solver_order")) return 1;
      return IsSinglestep(options.sampler) && order > 1 ? order + 1 : order;
  }
}

TEST_P(EverySampler, HasTheSlotsItsOrderNeeds) {
  const SamplerOptions& options = GetParam().options;
  const SamplerPlan plan = CompilePath(path(), options);
  const bool prk = options.sampler == SamplerKind::kPndm;  // three of whose steps are two moves
  const bool asks_more =
      prk || options.sampler == SamplerKind::kPlms || options.sampler == SamplerKind::kHeun;
  EXPECT_EQ(plan.slots, SlotsOf(options));
  EXPECT_EQ(plan.NumSteps(), static_cast<int>(path().size()) - (prk ? 3 : 0));
  EXPECT_LE(plan.slots, kMaxSlots);
  for (const Evaluation& evaluation : plan.evaluations) {
    EXPECT_EQ(evaluation.update.rows(), plan.slots);
    EXPECT_EQ(evaluation.update.columns(), plan.slots + 2);
    EXPECT_TRUE(evaluation.ends_step || asks_more);
  }
}

INSTANTIATE_TEST_SUITE_P(All, EverySampler, testing::ValuesIn(AllSamplers()),
                         [](const auto& instance) { return instance.param.name; });

TEST(NoisePath, HistoryMovesThroughTheSlots) {
  const SamplerPlan plan = CompilePath(
      PreservingPath(), {.sampler = SamplerKind::kDpmSolverPlusPlus, .solver_order = 3});
  const SmallMatrix& update = plan.evaluations[3].update;
  const double x0_row[] = {0, 0, 0, 1, 0}, shift_row[] = {0, 1, 0, 0, 0};
  for (int column = 0; column < 5; ++column) {
    EXPECT_EQ(update(1, column), x0_row[column]);
    EXPECT_EQ(update(2, column), shift_row[column]);
  }
}

TEST(NoisePath, SinglestepBlocksRiseInOrderFromTheirStart) {
  const NoisePath path = PreservingPath();  // 7 moves
  const SamplerPlan plan = CompilePath(path, {.sampler = SamplerKind::kDpmSolverPlusPlusSinglestep,
                                              .solver_order = 3,
                                              .lower_order_final = false});
  const int orders[] = {1, 2, 3, 1, 2, 3, 1};
  for (size_t move = 0; move < path.size(); ++move) {
    const SmallMatrix& update = plan.evaluations[move].update;
    const NoiseLevel& start = path[move + 1 - orders[move]].from;
    // x_t = sigma_t / sigma_s * x_s + ...
    const int column = orders[move] == 1 ? 0 : 1;
    EXPECT_NEAR(update(0, column), path[move].to.sigma / start.sigma, 1e-12) << move;
    EXPECT_EQ(update(0, 1 - column), 0) << move;
  }
}

TEST(NoisePath, DeisInLogRhoIsDpmSolverWithExactIntegrals) {
  NoisePath path = PreservingPath();
  path.back().to = LevelOfLambda(3);
  for (int order : {1, 2, 3}) {
    const SamplerPlan deis = CompilePath(
        path, {.sampler = SamplerKind::kDeis, .solver_order = order, .lower_order_final = false});
    const SamplerPlan dpm = CompilePath(path, {.sampler = SamplerKind::kDpmSolver,
                                               .solver_order = order,
                                               .solver_type = SolverType::kHeun,
                                               .lower_order_final = false,
                                               .corrected_third_order = true});
    for (size_t step = 0; step < path.size(); ++step) {
      const SmallMatrix& update = deis.evaluations[step].update;
      for (int column = 0; column < update.columns(); ++column)
        EXPECT_NEAR(update(0, column), dpm.evaluations[step].update(0, column), 1e-9);
    }
  }
}

TEST(NoisePath, AStepThatDoesNotMoveKeepsTheImage) {
  NoisePath path = PreservingPath();
  path.back().to = path.back().from;  // Karras sigmas that end at sigma_min do this
  for (SamplerKind sampler :
       {SamplerKind::kDpmSolver, SamplerKind::kDpmSolverPlusPlus,
        SamplerKind::kSdeDpmSolverPlusPlus, SamplerKind::kDeis, SamplerKind::kEuler,
        SamplerKind::kEulerAncestral, SamplerKind::kHeun}) {
    const SamplerPlan plan = CompilePath(path, {.sampler = sampler, .lower_order_final = false});
    const Evaluation& last = plan.evaluations.back();
    EXPECT_NEAR(last.update(0, 0), 1, 1e-12);
    for (int column = 1; column < last.update.columns(); ++column)
      EXPECT_NEAR(last.update(0, column), 0, 1e-12);
    EXPECT_NEAR(std::get<double>(last.noise), 0, 1e-7);
  }
}

TEST(NoisePath, EulerAncestralIsDdpmInSigma) {
  const NoisePath path = PreservingPath();
  const SamplerPlan euler = CompilePath(path, {.sampler = SamplerKind::kEulerAncestral});
  const SamplerPlan ddpm = CompilePath(path, {.sampler = SamplerKind::kDdpm});
  for (size_t step = 0; step + 1 < path.size(); ++step) {
    const NoiseLevel& from = path[step].from;
    const NoiseLevel& to = path[step].to;
    const Evaluation& a = euler.evaluations[step];
    const Evaluation& b = ddpm.evaluations[step];
    EXPECT_NEAR(a.update(0, 0) * to.alpha / from.alpha, b.update(0, 0), 1e-9);
    EXPECT_NEAR(a.update(0, 1) * to.alpha, b.update(0, 1), 1e-9);
    EXPECT_NEAR(std::get<double>(a.noise) * to.alpha, std::get<double>(b.noise), 1e-9);
  }
  EXPECT_FALSE(AddsNoise(euler.evaluations.back()));
}

TEST(NoisePath, HeunEvaluatesTwicePerStepAndOnceWithoutNoise) {
  NoisePath path = PreservingPath();
  const auto asked = [&] {
    std::vector<std::pair<double, bool>> evaluations;
    for (const Evaluation& e : CompilePath(path, {.sampler = SamplerKind::kHeun}).evaluations)
      evaluations.emplace_back(e.timestep, e.ends_step);
    return evaluations;
  };
  path = {path[0], path[1]};
  path.back().to = {1, 0};
  using testing::ElementsAre;
  using testing::Pair;
  EXPECT_THAT(asked(), ElementsAre(Pair(100, false), Pair(99, true), Pair(99, true)));
  path.back().to = LevelOfLambda(5);
  EXPECT_THAT(asked(),
              ElementsAre(Pair(100, false), Pair(99, true), Pair(99, false), Pair(98, true)));
  path.back().to = path.back().from;
  EXPECT_THAT(asked(), ElementsAre(Pair(100, false), Pair(99, true), Pair(99, true)));
}

// The state is x / alpha; what the network sees, and a picture of x_t shows, is x.
TEST(NoisePath, SamplersInSigmaUseTheSameLevelsAsTheOthers) {
  const NoisePath path = PreservingPath();
  const SamplerPlan plan = CompilePath(path, {.sampler = SamplerKind::kEuler});
  for (size_t step = 0; step < path.size(); ++step) {
    const Evaluation& evaluation = plan.evaluations[step];
    EXPECT_EQ(evaluation.alpha, 1);
    EXPECT_DOUBLE_EQ(evaluation.input_scale * evaluation.alpha, path[step].from.alpha);
    EXPECT_DOUBLE_EQ(evaluation.input_scale * evaluation.sigma, path[step].from.sigma);
  }
}

TEST(NoisePath, ChurnIsBoundedAndLiesBetweenItsSigmas) {
  const NoisePath path = PreservingPath();
  const auto noise = [&](double s_churn, double s_tmin, double s_tmax, double s_noise) {
    const SamplerPlan plan = CompilePath(path, {.sampler = SamplerKind::kEuler,
                                                .s_churn = s_churn,
                                                .s_tmin = s_tmin,
                                                .s_tmax = s_tmax,
                                                .s_noise = s_noise});
    std::vector<double> scales;
    for (const Evaluation& evaluation : plan.evaluations)
      scales.push_back(std::get<double>(evaluation.noise));
    return scales;
  };
  const double sigma = path[1].from.ratio();
  const double gamma = 0.7 / static_cast<double>(path.size());
  EXPECT_NEAR(noise(0.7, 0, 100, 2)[1], 2 * sigma * std::sqrt(std::pow(1 + gamma, 2) - 1), 1e-9);
  EXPECT_NEAR(noise(1e6, 0, 100, 1)[1], sigma, 1e-9);  // raised by sqrt(2) at most
  EXPECT_THAT(noise(0, 0, 100, 1), testing::Each(0));
  const std::vector<double> between = noise(1, path[4].from.ratio(), path[2].from.ratio(), 1);
  for (size_t step = 0; step < path.size(); ++step)
    EXPECT_EQ(between[step] > 0, step >= 2 && step <= 4) << step;
}

TEST(NoisePath, PlmsStartsWithHeunAndRisesToOrderFour) {
  const SamplerPlan plan = CompilePath(PreservingPath(), {.sampler = SamplerKind::kPlms});
  EXPECT_EQ(plan.evaluations.size(), 8u);
  std::vector<bool> ends;
  std::vector<int> history;  // noises of earlier steps that a step reads
  for (const Evaluation& evaluation : plan.evaluations) {
    ends.push_back(evaluation.ends_step);
    int read = 0;
    for (int slot = 2; slot < 5; ++slot) read += evaluation.update(0, slot) != 0;
    history.push_back(read);
  }
  using testing::ElementsAre;
  EXPECT_THAT(ends, ElementsAre(false, true, true, true, true, true, true, true));
  EXPECT_THAT(history, ElementsAre(0, 1, 1, 2, 3, 3, 3, 3));
}

TEST(NoisePath, PrkEvaluatesFourTimesPerStepAndFillsTheHistoryOfPlms) {
  const NoisePath path = PreservingPath();  // three steps of two moves, and one more
  const SamplerPlan plan = CompilePath(path, {.sampler = SamplerKind::kPndm});
  ASSERT_EQ(plan.evaluations.size(), 13u);
  std::vector<double> timesteps;
  for (const Evaluation& evaluation : plan.evaluations) timesteps.push_back(evaluation.timestep);
  EXPECT_THAT(timesteps, testing::ElementsAre(100, 99, 99, 98, 98, 97, 97, 96, 96, 95, 95, 94, 94));
  for (size_t e = 0; e < 12; ++e) EXPECT_EQ(plan.evaluations[e].ends_step, e % 4 == 3);
  for (int slot = 2; slot < 5; ++slot) EXPECT_NE(plan.evaluations[12].update(0, slot), 0);
  EXPECT_EQ(CompilePath({path[6]}, {.sampler = SamplerKind::kPndm}).evaluations.size(), 1u);
}

// Zheng et al. 2024: x_s is DDIM's, and x_t' is drawn from q(x_t' | x_s).
TEST(NoisePath, TcdJumpsBelowTheNextLevelAndAddsNoiseUpToIt) {
  const NoiseLevel t = LevelOfLambda(-2), s = LevelOfLambda(1), next = LevelOfLambda(0);
  const SamplerPlan plan = CompilePath({{900, t, s}, {200, s, next}, {400, next, {1, 0}}},
                                       {.sampler = SamplerKind::kTcd});
  ASSERT_EQ(plan.evaluations.size(), 2u);
  const Evaluation& jump = plan.evaluations[0];
  const double from_x = s.sigma / t.sigma, from_x0 = s.alpha - s.sigma * t.alpha / t.sigma;
  EXPECT_NEAR(jump.update(0, 0), next.alpha / s.alpha * from_x, 1e-12);
  EXPECT_NEAR(jump.update(0, 1), next.alpha / s.alpha * from_x0, 1e-12);
  const double kept = std::pow(next.alpha / s.alpha, 2);  // alphas_cumprod ratio
  EXPECT_NEAR(std::get<double>(jump.noise), std::sqrt(1 - kept), 1e-12);
  EXPECT_FALSE(AddsNoise(plan.evaluations[1]));
  EXPECT_EQ(plan.evaluations[1].timestep, 400);
}

// Song et al. 2021, eq. 6 and 13 with the VP SDE, where beta is spread evenly over the step.
TEST(NoisePath, VpStepsAreEulersInTime) {
  const NoisePath path = PreservingPath();
  for (bool stochastic : {false, true}) {
    const SamplerPlan plan =
        CompilePath(path, {.sampler = stochastic ? SamplerKind::kVpSde : SamplerKind::kVpOde});
    for (size_t i = 0; i + 1 < path.size(); ++i) {
      const NoiseLevel& from = path[i].from;
      const double beta = 2 * std::log(path[i].to.alpha / from.alpha);
      const double score = (stochastic ? beta : beta / 2) / (from.sigma * from.sigma);
      const Evaluation& evaluation = plan.evaluations[i];
      EXPECT_NEAR(evaluation.update(0, 0), 1 + beta / 2 - score, 1e-12);
      EXPECT_NEAR(evaluation.update(0, 1), score * from.alpha, 1e-12);
      EXPECT_NEAR(std::get<double>(evaluation.noise), stochastic ? std::sqrt(beta) : 0, 1e-12);
    }
    EXPECT_EQ(plan.evaluations.back().update(0, 0), 0);  // the denoised mean
    EXPECT_EQ(plan.evaluations.back().update(0, 1), 1);
    EXPECT_FALSE(AddsNoise(plan.evaluations.back()));
  }
}

TEST(NoisePath, LcmKeepsTheImageAtTimestepZero) {
  const NoiseLevel t = LevelOfLambda(0);
  const auto update = [&](double timestep) {
    return CompilePath({{timestep, t, {1, 0}}},
                       {.sampler = SamplerKind::kLcm, .timestep_scaling = 0.1})
        .evaluations[0]
        .update;
  };
  EXPECT_EQ(update(0)(0, 0), 1);
  EXPECT_EQ(update(0)(0, 1), 0);
  EXPECT_NEAR(update(5)(0, 0), 0.5, 1e-12);  // the scaled timestep is sigma_data
  EXPECT_NEAR(update(5)(0, 1), std::sqrt(0.5), 1e-12);
}

TEST(NoisePath, DisabledCorrectorLeavesThePredictionAlone) {
  const SamplerPlan plan =
      CompilePath(PreservingPath(), {.sampler = SamplerKind::kUniPc, .disable_corrector = {0, 2}});
  const auto corrects = [&](size_t step) { return plan.evaluations[step].update(1, 0) != 1; };
  EXPECT_FALSE(corrects(0));  // nothing to correct yet
  EXPECT_FALSE(corrects(1));
  EXPECT_TRUE(corrects(2));
  EXPECT_FALSE(corrects(3));
  EXPECT_TRUE(corrects(4));
}

TEST(ConnectNodes, SaysWhetherAStepStandsStillOrGoesBack) {
  const Node noisy = {900, {0.1, 0.9}}, clear = {100, {0.9, 0.1}}, image = {0, {1, 0}};
  const SamplerOptions options = {.sampler = SamplerKind::kEuler, .timesteps = {1}};
  const auto refusal = [&](const std::vector<Node>& nodes) {
    return std::string(ConnectNodes(nodes, image, options).status().message());
  };
  EXPECT_EQ(refusal({noisy, clear}), "");
  EXPECT_EQ(refusal({noisy, noisy}),
            "timesteps: puts two steps at the same noise level; take fewer");
  EXPECT_EQ(refusal({clear, noisy}),
            "timesteps: puts a step at a higher noise level than the one before it");
}

}  // namespace
}  // namespace denoise
