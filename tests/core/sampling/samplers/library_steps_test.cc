// Solvers that tests/data/reference has no runs of, beside a second implementation: the published
// steps written out on numbers instead of coefficients, in double precision. The systems of UniPC
// are solved by Cramer's rule here. Where the library's step is not the paper's, it is the
// library's.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "core/sampling/options/option_names.h"
#include "core/sampling/samplers/compile_plan.h"
#include "tests/core/sampling/samplers/plan_replay.h"

namespace denoise {
namespace {

const Values kStart = {-1.5, -0.2, 0.7, 2.5};

// Not linear, so that every prediction counts.
double Network(double x, double timestep) { return std::sin(x) + 0.001 * timestep * x; }

// Deterministic, and as good as any other noise for comparing two implementations.
double Noise(size_t step, size_t element) {
  return std::cos(1.3 * static_cast<double>(step) + 2.1 * static_cast<double>(element));
}

// The levels of a run: one more than there are steps.
struct Levels {
  std::vector<double> timestep, alpha, sigma;
  double lambda(size_t i) const { return std::log(alpha[i] / sigma[i]); }
};

Levels LevelsOf(const SamplerPlan& plan) {
  Levels levels;
  for (const Evaluation& evaluation : plan.evaluations) {
    levels.timestep.push_back(evaluation.timestep);
    levels.alpha.push_back(evaluation.alpha);
    levels.sigma.push_back(evaluation.sigma);
  }
  levels.alpha.push_back(plan.final_alpha);
  levels.sigma.push_back(plan.final_sigma);
  return levels;
}

SamplerPlan Plan(SamplerOptions options) {
  options.steps = 12;
  options.timestep_spacing = TimestepSpacing::kLinspace;
  options.final_sigma = FinalSigma::kSigmaMin;
  options.lower_order_final = false;
  const auto plan = CompilePlan(Schedule::Create(VpOptions()).value(), options);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return *plan;
}

double Replayed(const SamplerPlan& plan, size_t element) {
  size_t draws = 0;
  ReplayOptions options;
  options.network = [](const Values& input, const Evaluation& evaluation) {
    return NetworkOutput{{Network(input[0], evaluation.timestep)}, {}};
  };
  options.noise = [&](size_t) { return Values{Noise(draws++, element)}; };
  return ReplayPlan(plan, {{kStart[element]}}, options).slots[0][0];
}

// The predicted x0 at step `i`.
double X0(double x, size_t i, const Levels& l) {
  return (x - l.sigma[i] * Network(x, l.timestep[i])) / l.alpha[i];
}

// SDE-DPM-Solver++ multistep of order 3: the first two steps have order 1 and 2.
double Sde3(double x, size_t element, const Levels& l, bool corrected) {
  const double factor = corrected ? 2 : 1;
  const double constant = corrected ? 0.5 : -0.5;
  std::vector<double> m;
  for (size_t i = 0; i + 1 < l.alpha.size(); ++i) {
    m.push_back(X0(x, i, l));
    const double h = l.lambda(i + 1) - l.lambda(i);
    const double gone = 1 - std::exp(-2 * h);
    const double noise = l.sigma[i + 1] * std::sqrt(gone) * Noise(i, element);
    double next = l.sigma[i + 1] / l.sigma[i] * std::exp(-h) * x + l.alpha[i + 1] * gone * m[i];
    if (i >= 1) {
      const double r0 = (l.lambda(i) - l.lambda(i - 1)) / h;
      const double newer = (m[i] - m[i - 1]) / r0;
      if (i == 1) {
        next += 0.5 * l.alpha[i + 1] * gone * newer;  // midpoint
      } else {
        const double r1 = (l.lambda(i - 1) - l.lambda(i - 2)) / h;
        const double older = (m[i - 1] - m[i - 2]) / r1;
        const double d1 = newer + r0 / (r0 + r1) * (newer - older);
        const double d2 = factor / (r0 + r1) * (newer - older);
        next += l.alpha[i + 1] * (gone / (-2 * h) + 1) * d1;
        next += l.alpha[i + 1] * ((gone - 2 * h) / (4 * h * h) + constant) * d2;
      }
    }
    x = next + noise;
  }
  return x;
}

TEST(LibrarySteps, StochasticDpmSolverPlusPlusOfOrderThree) {
  for (const bool corrected : {false, true}) {
    const SamplerPlan plan = Plan({.sampler = SamplerKind::kSdeDpmSolverPlusPlus,
                                   .solver_order = 3,
                                   .corrected_third_order = corrected});
    for (size_t element = 0; element < kStart.size(); ++element) {
      EXPECT_NEAR(Replayed(plan, element),
                  Sde3(kStart[element], element, LevelsOf(plan), corrected), 1e-9);
    }
  }
}

// SDE-DPM-Solver++ singlestep of order 3: blocks of a step of order 1, 2 and 3, each from the start
// of the block.
double SdeSinglestep3(double x, size_t element, const Levels& l, bool heun) {
  std::vector<double> m;
  double start = x;
  for (size_t i = 0; i + 1 < l.alpha.size(); ++i) {
    m.push_back(X0(x, i, l));
    const size_t order = i % 3 + 1, s = i + 1 - order, t = i + 1;
    if (order == 1) start = x;
    const double h = l.lambda(t) - l.lambda(s);
    const double gone = 1 - std::exp(-2 * h);
    double next = l.sigma[t] / l.sigma[s] * std::exp(-h) * start + l.alpha[t] * gone * m[s];
    const double whole = l.alpha[t] * (gone / (-2 * h) + 1);
    const double r1 = (l.lambda(s + 1) - l.lambda(s)) / h;
    if (order == 2) {
      next += (heun ? whole : 0.5 * l.alpha[t] * gone) * (m[s + 1] - m[s]) / r1;
    } else if (order == 3) {
      const double r2 = (l.lambda(s + 2) - l.lambda(s)) / h;
      const double to_middle = (m[s + 1] - m[s]) / r1, to_newest = (m[s + 2] - m[s]) / r2;
      const double d1 = (r2 * to_middle - r1 * to_newest) / (r2 - r1);
      const double d2 = 2 * (to_newest - to_middle) / (r2 - r1);
      next += heun ? whole * d1 + l.alpha[t] * ((gone - 2 * h) / (4 * h * h) - 0.5) * d2
                   : whole * to_newest;
    }
    x = next + l.sigma[t] * std::sqrt(gone) * Noise(i, element);
  }
  return x;
}

TEST(LibrarySteps, StochasticSinglestepOfOrderThree) {
  for (const SolverType type : {SolverType::kMidpoint, SolverType::kHeun}) {
    const SamplerPlan plan = Plan({.sampler = SamplerKind::kSdeDpmSolverPlusPlusSinglestep,
                                   .solver_order = 3,
                                   .solver_type = type});
    for (size_t element = 0; element < kStart.size(); ++element) {
      EXPECT_NEAR(
          Replayed(plan, element),
          SdeSinglestep3(kStart[element], element, LevelsOf(plan), type == SolverType::kHeun),
          1e-9);
    }
  }
}

// The determinant of the matrix with rows (1, 1, 1), nodes and squares, cut to their number.
double Vandermonde(const std::vector<double>& nodes) {
  double product = 1;
  for (size_t j = 1; j < nodes.size(); ++j) {
    for (size_t i = 0; i < j; ++i) product *= nodes[j] - nodes[i];
  }
  return product;
}

double Determinant(const std::vector<std::vector<double>>& a) {
  if (a.size() == 1) return a[0][0];
  if (a.size() == 2) return a[0][0] * a[1][1] - a[0][1] * a[1][0];
  double sum = 0;
  for (size_t k = 0; k < 3; ++k) {
    const size_t p = (k + 1) % 3, q = (k + 2) % 3;
    sum += a[0][k] * (a[1][p] * a[2][q] - a[1][q] * a[2][p]);
  }
  return sum;
}

// rho with sum_k rho_k nodes_k^j = b_j, by Cramer's rule.
std::vector<double> Rhos(const std::vector<double>& nodes, const std::vector<double>& b) {
  std::vector<double> rhos;
  for (size_t column = 0; column < nodes.size(); ++column) {
    std::vector<std::vector<double>> a;
    for (size_t j = 0; j < nodes.size(); ++j) {
      a.emplace_back();
      for (size_t k = 0; k < nodes.size(); ++k) {
        a[j].push_back(k == column ? b[j] : std::pow(nodes[k], static_cast<double>(j)));
      }
    }
    rhos.push_back(Determinant(a) / Vandermonde(nodes));
  }
  return rhos;
}

// One step of UniPC in its noise form, from level `i` to the next. `m[0]` is the noise at its
// start, then come earlier ones; with `end`, the noise at its end, it is the corrector.
double UniPcStep(double x, const std::vector<double>& m, const double* end, size_t i,
                 const Levels& l, bool bh1) {
  const double h = l.lambda(i + 1) - l.lambda(i);
  const double b_h = bh1 ? h : std::expm1(h);
  std::vector<double> nodes, differences;
  for (size_t back = 1; back < m.size(); ++back) {
    nodes.push_back((l.lambda(i - back) - l.lambda(i)) / h);
    differences.push_back((m[back] - m[0]) / nodes.back());
  }
  if (end != nullptr) {
    nodes.push_back(1);
    differences.push_back(*end - m[0]);
  }
  std::vector<double> b;
  double phi = std::expm1(h) / h - 1, factorial = 1;
  for (size_t j = 1; j <= nodes.size(); ++j) {
    b.push_back(phi * factorial / b_h);
    factorial *= static_cast<double>(j + 1);
    phi = phi / h - 1 / factorial;
  }
  // One difference is weighted by 1/2, the papers' choice.
  const std::vector<double> rhos = nodes.size() == 1 ? std::vector<double>{0.5} : Rhos(nodes, b);
  double sum = 0;
  for (size_t k = 0; k < rhos.size(); ++k) sum += rhos[k] * differences[k];
  return l.alpha[i + 1] / l.alpha[i] * x - l.sigma[i + 1] * (std::expm1(h) * m[0] + b_h * sum);
}

double UniPcInNoise(double x, const Levels& l, size_t order, bool bh1) {
  std::vector<double> newest_first;
  double last = x;
  for (size_t i = 0; i + 1 < l.alpha.size(); ++i) {
    const double noise = Network(x, l.timestep[i]);
    const auto first = [&](size_t count) {
      return std::vector<double>(newest_first.begin(),
                                 newest_first.begin() + static_cast<ptrdiff_t>(count));
    };
    if (i > 0) x = UniPcStep(last, first(std::min(order, i)), &noise, i - 1, l, bh1);
    newest_first.insert(newest_first.begin(), noise);
    last = x;
    x = UniPcStep(x, first(std::min(order, i + 1)), nullptr, i, l, bh1);
  }
  return x;
}

TEST(LibrarySteps, UniPcThatExpandsTheNoise) {
  for (const SolverType type : {SolverType::kBh1, SolverType::kBh2}) {
    for (const int order : {1, 2, 3}) {
      const SamplerPlan plan = Plan({.sampler = SamplerKind::kUniPc,
                                     .solver_order = order,
                                     .solver_type = type,
                                     .predict_x0 = false});
      for (size_t element = 0; element < kStart.size(); ++element) {
        EXPECT_NEAR(Replayed(plan, element),
                    UniPcInNoise(kStart[element], LevelsOf(plan), static_cast<size_t>(order),
                                 type == SolverType::kBh1),
                    1e-9)
            << "order " << order << ", " << NameOf(type);
      }
    }
  }
}

// The limit of its first-order step, where the library divides infinity by itself.
TEST(LibrarySteps, UniPcThatExpandsTheNoiseMayEndWithoutNoise) {
  const SamplerOptions options = {.sampler = SamplerKind::kUniPc,
                                  .steps = 4,
                                  .solver_order = 1,
                                  .disable_corrector = {0, 1, 2, 3},
                                  .predict_x0 = false};
  const auto plan = CompilePlan(Schedule::Create(VpOptions()).value(), options);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->final_sigma, 0);
  const SmallMatrix& update = plan->evaluations.back().update;
  EXPECT_NEAR(update(0, 0), 0, 1e-12);
  EXPECT_NEAR(update(0, plan->slots), 1, 1e-12);  // the predicted x0
}

}  // namespace
}  // namespace denoise
