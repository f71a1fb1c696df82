#include "core/diffusion/forward_process.h"

#include <ATen/TensorOperators.h>

#include <utility>

#include "core/diffusion/per_row.h"

namespace denoise {
namespace {

double Square(double x) { return x * x; }

// From s to the noisier t.
struct Transition {
  NoiseLevel s, t;
  double alpha_ts;
  double variance;  // sigma_ts^2

  Transition(const NoiseLevel& from, const NoiseLevel& to)
      : s(from), t(to), alpha_ts(to.alpha / from.alpha) {
    variance = Square(t.sigma) - Square(alpha_ts * s.sigma);
  }
};

std::vector<Transition> Transitions(const Schedule& schedule, const std::vector<double>& s,
                                    const std::vector<double>& t) {
  std::vector<Transition> transitions;
  transitions.reserve(t.size());
  for (size_t row = 0; row < t.size(); ++row) {
    transitions.emplace_back(schedule.LevelAt(s[row]), schedule.LevelAt(t[row]));
  }
  return transitions;
}

}  // namespace

at::Tensor Gaussian::At(const at::Tensor& noise) const { return mean + variance.sqrt() * noise; }

ForwardProcess::ForwardProcess(Schedule schedule) : schedule_(std::move(schedule)) {}

Gaussian ForwardProcess::Marginal(const at::Tensor& x0, const std::vector<double>& t) const {
  const std::vector<NoiseLevel> levels = LevelsAt(schedule_, t);
  return {PerRow(levels, x0, [](const NoiseLevel& level) { return level.alpha; }) * x0,
          PerRow(levels, x0, [](const NoiseLevel& level) { return Square(level.sigma); })};
}

Gaussian ForwardProcess::Step(const at::Tensor& x_s, const std::vector<double>& s,
                              const std::vector<double>& t) const {
  const std::vector<Transition> steps = Transitions(schedule_, s, t);
  return {PerRow(steps, x_s, [](const Transition& step) { return step.alpha_ts; }) * x_s,
          PerRow(steps, x_s, [](const Transition& step) { return step.variance; })};
}

Gaussian ForwardProcess::Posterior(const at::Tensor& x0, const at::Tensor& x_t,
                                   const std::vector<double>& s,
                                   const std::vector<double>& t) const {
  const std::vector<Transition> steps = Transitions(schedule_, s, t);
  const auto from_x0 = [](const Transition& step) {
    return step.s.alpha * step.variance / Square(step.t.sigma);
  };
  const auto from_x_t = [](const Transition& step) {
    return step.alpha_ts * Square(step.s.sigma / step.t.sigma);
  };
  const auto variance = [](const Transition& step) {
    return step.variance * Square(step.s.sigma / step.t.sigma);
  };
  return {PerRow(steps, x0, from_x0) * x0 + PerRow(steps, x0, from_x_t) * x_t,
          PerRow(steps, x0, variance)};
}

}  // namespace denoise
