// What every sampler must keep, whatever its formula: images of one known picture stay where the
// forward process puts them.
#include "core/sampling/noise_path.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "core/sampling/option_names.h"
#include "tests/core/sampling/plan_replay.h"

namespace denoise {
namespace {

constexpr double kPicture = 0.7;

NoiseLevel PreservingLevel(double lambda) {
  const double alpha = 1 / std::sqrt(1 + std::exp(-2 * lambda));
  return {alpha, alpha * std::exp(-lambda)};
}

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
    levels.push_back(PreservingLevel(lambda));
  return PathThrough(levels);
}

NoisePath FlowPath() {
  return PathThrough({{0.01, 0.99}, {0.2, 0.8}, {0.5, 0.5}, {0.6, 0.4}, {0.9, 0.1}});
}

// What a perfect network says of x = alpha * kPicture + sigma * epsilon.
double Predict(PredictionType type, const NoiseLevel& at, double x) {
  const double epsilon = (x - at.alpha * kPicture) / at.sigma;
  switch (type) {
    case PredictionType::kEpsilon:
      return epsilon;
    case PredictionType::kSample:
      return kPicture;
    case PredictionType::kVPrediction:
      return at.alpha * epsilon - at.sigma * kPicture;
    case PredictionType::kFlowPrediction:
      return epsilon - kPicture;
  }
  return 0;
}

struct SamplerCase {
  std::string name;
  SamplerOptions options;
  bool flow = false;
};

void PrintTo(const SamplerCase& sampler_case, std::ostream* stream) {
  *stream << sampler_case.name;
}

void AddPredictions(SamplerCase sampler_case, std::vector<SamplerCase>& cases) {
  const std::string name = sampler_case.name;
  for (const auto& [prediction, type] : kNames<PredictionType>) {
    if (type == PredictionType::kFlowPrediction) continue;
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
    for (SolverType type : {SolverType::kMidpoint, SolverType::kHeun}) {
      const std::string suffix = std::to_string(order) + "_" + std::string(NameOf(type));
      for (SamplerKind sampler : {SamplerKind::kDpmSolver, SamplerKind::kDpmSolverPlusPlus,
                                  SamplerKind::kSdeDpmSolverPlusPlus}) {
        if (sampler == SamplerKind::kSdeDpmSolverPlusPlus && order == 3) continue;
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
  return cases;
}

class EverySampler : public testing::TestWithParam<SamplerCase> {
 protected:
  NoisePath path() const { return GetParam().flow ? FlowPath() : PreservingPath(); }
  NetworkOutput Network(const Values& x, const Evaluation& at) const {
    const NoiseLevel level = {at.input_scale * at.alpha, at.input_scale * at.sigma};
    Values output;
    for (double value : x)
      output.push_back(Predict(GetParam().options.prediction_type, level, value));
    return {output, {}};
  }
};

// Starting from alpha * picture + sigma * epsilon with two values of epsilon: without fresh noise
// the first is the mean of the forward process, and the two stay as far apart as its noise that was
// not replaced by fresh one.
TEST_P(EverySampler, StaysOnTheForwardProcess) {
  const SamplerPlan plan = CompilePath(path(), GetParam().options);
  const Evaluation& start = plan.evaluations[0];
  std::vector<Values> slots = {{start.alpha * kPicture, start.alpha * kPicture + start.sigma}};
  double fresh_variance = 0;  // of slot 0, from the noise drawn so far
  for (size_t e = 0; e < plan.evaluations.size(); ++e) {
    SamplerPlan one{.slots = plan.slots, .evaluations = {plan.evaluations[e]}};
    const double scale = std::get<double>(one.evaluations[0].noise);
    one.evaluations[0].noise = 0.0;
    const double before = slots[0][1] - slots[0][0];
    slots = ReplayPlan(
                one, slots,
                {.network = [&](const Values& x, const Evaluation& at) { return Network(x, at); }})
                .slots;
    const double after = slots[0][1] - slots[0][0];
    if (before != 0) fresh_variance *= std::pow(after / before, 2);
    fresh_variance += scale * scale;

    const bool last = e + 1 == plan.evaluations.size();
    const NoiseLevel level =
        last ? NoiseLevel{plan.final_alpha, plan.final_sigma}
             : NoiseLevel{plan.evaluations[e + 1].alpha, plan.evaluations[e + 1].sigma};
    EXPECT_NEAR(slots[0][0], level.alpha * kPicture, 1e-9) << "mean after " << e;
    EXPECT_NEAR(after * after + fresh_variance, level.sigma * level.sigma, 1e-9)
        << "variance after " << e;
  }
}

TEST_P(EverySampler, HasTheSlotsItsOrderNeeds) {
  const SamplerOptions& options = GetParam().options;
  const SamplerPlan plan = CompilePath(path(), options);
  const bool heun = options.sampler == SamplerKind::kHeun;
  const bool solver = SamplerReads(options.sampler, "solver_order");
  const int extra = options.sampler == SamplerKind::kUniPc ? 2 : 0;
  EXPECT_EQ(plan.slots, solver ? options.solver_order + extra : heun ? 2 : 1);
  EXPECT_EQ(plan.NumSteps(), static_cast<int>(path().size()));
  EXPECT_LE(plan.slots, kMaxSlots);
  for (const Evaluation& evaluation : plan.evaluations) {
    EXPECT_EQ(evaluation.update.rows(), plan.slots);
    EXPECT_EQ(evaluation.update.columns(), plan.slots + 2);
    EXPECT_TRUE(evaluation.ends_step || heun);
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

TEST(NoisePath, AStepThatGoesNowhereLeavesTheImageAlone) {
  NoisePath path = PreservingPath();
  path.back().to = path.back().from;  // Karras sigmas that end at sigma_min do this
  for (SamplerKind sampler : {SamplerKind::kDpmSolver, SamplerKind::kDpmSolverPlusPlus,
                              SamplerKind::kSdeDpmSolverPlusPlus, SamplerKind::kEuler,
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

TEST(NoisePath, HeunAsksTwiceAStepAndOnceWhereNoNoiseIsLeft) {
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
  path.back().to = PreservingLevel(5);
  EXPECT_THAT(asked(),
              ElementsAre(Pair(100, false), Pair(99, true), Pair(99, false), Pair(98, true)));
  path.back().to = path.back().from;
  EXPECT_THAT(asked(), ElementsAre(Pair(100, false), Pair(99, true), Pair(99, true)));
}

// The state is x / alpha; what the network sees, and a picture of x_t shows, is x.
TEST(NoisePath, SamplersInSigmaShowTheNetworkTheSameLevelsAsTheOthers) {
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

}  // namespace
}  // namespace denoise
