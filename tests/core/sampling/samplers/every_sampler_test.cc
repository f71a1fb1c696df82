// What holds of every sampler at any number of steps, on a schedule as a checkpoint has it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "core/base/field_violations.h"
#include "core/sampling/options/option_names.h"
#include "core/sampling/options/scheduler_config.h"
#include "core/sampling/samplers/compile_plan.h"
#include "tests/core/sampling/samplers/gaussian_data.h"
#include "tests/core/sampling/samplers/plan_replay.h"

namespace denoise {
namespace {

constexpr Gaussian kData = {0.3, 0.5};

// The defaults of the sampler's class, without clips: those hide what a sampler does.
SamplerOptions Unclipped(SamplerKind sampler) {
  SamplerOptions options = ClassDefaults(sampler);
  options.clip_sample = false;
  return options;
}

class EverySampler : public testing::TestWithParam<std::pair<std::string_view, SamplerKind>> {
 protected:
  const Schedule schedule_ = Schedule::Create({}).value();
};

// With a perfect network images stay near the data. A step or two over the whole schedule can take
// a method of higher order off, but not above the noise it started with.
TEST_P(EverySampler, StaysBoundedAtAnyNumberOfStepsOrSaysWhyItCannotRun) {
  const double sigma_max = schedule_.LevelAt(999).ratio();
  for (const auto& [spacing_name, spacing] : kNames<TimestepSpacing>) {
    for (const auto& [sigmas_name, sigmas] : kNames<SigmaSpacing>) {
      if (sigmas == SigmaSpacing::kFlow) continue;  // not levels that this network knows
      for (int steps : {1, 2, 3, 5, 10, 50, 1000}) {
        SamplerOptions options = Unclipped(GetParam().second);
        options.steps = steps;
        options.timestep_spacing = spacing;
        options.sigma_spacing = sigmas;
        const absl::StatusOr<SamplerPlan> plan = CompilePlan(schedule_, options);
        if (!plan.ok()) {
          EXPECT_FALSE(GetFieldViolations(plan.status()).empty()) << plan.status();
          continue;
        }
        const Gaussian made =
            DistributionAfter(*plan, {0, plan->init_noise_scale}, kData, options.prediction_type);
        const double bound = steps < 10 ? sigma_max : 4;
        EXPECT_LT(std::abs(made.mean), bound) << spacing_name << ' ' << sigmas_name << ' ' << steps;
        EXPECT_LT(made.deviation, bound) << spacing_name << ' ' << sigmas_name << ' ' << steps;
        if (steps < 1000) continue;
        EXPECT_NEAR(made.mean, kData.mean, 0.05) << spacing_name << ' ' << sigmas_name;
        EXPECT_NEAR(made.deviation, kData.deviation, 0.05) << spacing_name << ' ' << sigmas_name;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, EverySampler, testing::ValuesIn(kNames<SamplerKind>),
                         [](const auto& instance) { return std::string(instance.param.first); });

// The greatest distance between the distribution of `draws` and the data's.
double KolmogorovSmirnov(std::vector<double> draws) {
  std::sort(draws.begin(), draws.end());
  const double count = static_cast<double>(draws.size());
  double distance = 0;
  for (size_t i = 0; i < draws.size(); ++i) {
    const double probability = CumulativeProbability({kData}, {1, 0}, draws[i]);
    distance = std::max({distance, std::abs(probability - static_cast<double>(i) / count),
                         std::abs(probability - static_cast<double>(i + 1) / count)});
  }
  return distance;
}

constexpr size_t kDraws = 20000;

// Images of one value each, made with fixed seeds.
std::vector<double> Draw(const SamplerPlan& plan, PredictionType type) {
  std::mt19937_64 generator(7);
  std::normal_distribution<double> normal;
  const auto noise = [&](size_t size) {
    Values values(size);
    for (double& value : values) value = normal(generator);
    return values;
  };
  Values start = noise(kDraws);
  for (double& value : start) value *= plan.init_noise_scale;
  const auto network = [&](const Values& x, const Evaluation& at) {
    Values output;
    for (double value : x) output.push_back(PerfectOutput(kData, type, SeenLevel(at), value));
    return NetworkOutput{output, {}};
  };
  return ReplayPlan(plan, {start}, {.network = network, .noise = noise}).slots[0];
}

// Draws of the data itself are farther from it than this once in a million tests: by Massart 1990
// the probability is at most 2 exp(-2 n d^2).
const double kFarthest = std::sqrt(std::log(2 / 1e-6) / (2.0 * kDraws));

struct Stochastic {
  const char* name;
  SamplerOptions options;
};

void PrintTo(const Stochastic& stochastic, std::ostream* stream) { *stream << stochastic.name; }

SamplerOptions ManySteps(SamplerKind sampler) {
  SamplerOptions options = Unclipped(sampler);
  options.steps = 300;
  options.timestep_spacing = TimestepSpacing::kTrailing;
  return options;
}

SamplerOptions WithEta(double eta) {
  SamplerOptions options = ManySteps(SamplerKind::kDdim);
  options.eta = eta;
  return options;
}

SamplerOptions WithChurn(SamplerKind sampler) {
  SamplerOptions options = ManySteps(sampler);
  options.s_churn = 10;
  return options;
}

class StochasticSampler : public testing::TestWithParam<Stochastic> {
 protected:
  double Distance(const SamplerOptions& options) const {
    const SamplerPlan plan = CompilePlan(Schedule::Create({}).value(), options).value();
    return KolmogorovSmirnov(Draw(plan, options.prediction_type));
  }
};

TEST_P(StochasticSampler, DrawsFromTheDistributionOfTheData) {
  EXPECT_LT(Distance(GetParam().options), kFarthest);
}

TEST_P(StochasticSampler, IsDetectedToDifferWithLessNoise) {
  SamplerOptions options = GetParam().options;
  options.noise_temperature = 0.7;
  EXPECT_GT(Distance(options), kFarthest);
}

INSTANTIATE_TEST_SUITE_P(
    All, StochasticSampler,
    testing::Values(
        Stochastic{"Ddpm", ManySteps(SamplerKind::kDdpm)}, Stochastic{"DdimEtaHalf", WithEta(0.5)},
        Stochastic{"DdimEta1", WithEta(1)},
        Stochastic{"SdeDpmSolverPlusPlus", ManySteps(SamplerKind::kSdeDpmSolverPlusPlus)},
        Stochastic{"SdeSinglestep", ManySteps(SamplerKind::kSdeDpmSolverPlusPlusSinglestep)},
        Stochastic{"EulerAncestral", ManySteps(SamplerKind::kEulerAncestral)},
        Stochastic{"EulerChurned", WithChurn(SamplerKind::kEuler)},
        Stochastic{"HeunChurned", WithChurn(SamplerKind::kHeun)},
        Stochastic{"VpSde", ManySteps(SamplerKind::kVpSde)}),
    [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace denoise
