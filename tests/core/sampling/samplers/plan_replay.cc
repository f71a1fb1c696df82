#include "tests/core/sampling/samplers/plan_replay.h"

#include <algorithm>
#include <cmath>
#include <variant>

namespace denoise {
namespace {

// The q-quantile, linear between neighbours.
double Quantile(Values values, double q) {
  std::sort(values.begin(), values.end());
  const double position = q * static_cast<double>(values.size() - 1);
  const size_t below = static_cast<size_t>(std::floor(position));
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (position - std::floor(position)) * (values[above] - values[below]);
}

void ApplyThreshold(const DynamicThreshold& threshold, size_t image_size, Values& x0) {
  for (size_t start = 0; start < x0.size(); start += image_size) {
    const auto first = x0.begin() + static_cast<ptrdiff_t>(start);
    const auto last = first + static_cast<ptrdiff_t>(image_size);
    Values magnitudes(first, last);
    for (double& value : magnitudes) value = std::abs(value);
    const double s = std::clamp(Quantile(magnitudes, threshold.ratio), 1.0, threshold.max_value);
    std::for_each(first, last, [&](double& value) { value = std::clamp(value, -s, s) / s; });
  }
}

void ApplyClip(const Clip& clip, size_t image_size, Values& x0) {
  if (const StaticClip* range = std::get_if<StaticClip>(&clip)) {
    for (double& value : x0) value = std::clamp(value, range->min, range->max);
  }
  if (const DynamicThreshold* threshold = std::get_if<DynamicThreshold>(&clip)) {
    ApplyThreshold(*threshold, image_size, x0);
  }
}

double NoiseDeviation(const NoiseScale& noise, const Values& variance, size_t i) {
  if (const double* scale = std::get_if<double>(&noise)) return *scale;
  if (const LearnedRange* range = std::get_if<LearnedRange>(&noise)) {
    const double blend = (variance[i] + 1) / 2;
    return std::exp(0.5 * (range->log_variance_min +
                           blend * (range->log_variance_max - range->log_variance_min)));
  }
  return std::sqrt(variance[i]);
}

std::vector<Values> Update(const SmallMatrix& update, const std::vector<Values>& slots,
                           const Values& x0, const Values& output) {
  std::vector<Values> next(slots.size(), Values(x0.size(), 0.0));
  for (int row = 0; row < update.rows(); ++row) {
    for (int column = 0; column < update.columns(); ++column) {
      const int k = update.rows();
      const Values& from = column < k ? slots[column] : column == k ? x0 : output;
      for (size_t i = 0; i < from.size(); ++i) next[row][i] += update(row, column) * from[i];
    }
  }
  return next;
}

}  // namespace

double AbsSum(const Values& values) {
  double sum = 0;
  for (double value : values) sum += std::abs(value);
  return sum;
}

Replayed ReplayPlan(const SamplerPlan& plan, std::vector<Values> slots,
                    const ReplayOptions& options) {
  const size_t size = slots[0].size();
  slots.resize(plan.slots, Values(size, 0.0));
  Replayed replayed;
  for (size_t e = options.first_evaluation; e < plan.evaluations.size(); ++e) {
    const Evaluation& evaluation = plan.evaluations[e];
    Values input = slots[0];
    for (double& value : input) value *= evaluation.input_scale;
    const NetworkOutput output = options.network(input, evaluation);

    Values x0(size);
    for (size_t i = 0; i < size; ++i) {
      x0[i] = evaluation.x0_from_state * slots[0][i] + evaluation.x0_from_output * output.mean[i];
    }
    ApplyClip(evaluation.clip, options.image_size == 0 ? size : options.image_size, x0);

    slots = Update(evaluation.update, slots, x0, output.mean);
    if (AddsNoise(evaluation)) {
      const Values z = options.noise(size);
      for (size_t i = 0; i < size; ++i) {
        slots[0][i] += NoiseDeviation(evaluation.noise, output.variance, i) * z[i];
      }
    }
    replayed.abs_sums.push_back(AbsSum(slots[0]));
  }
  replayed.slots = std::move(slots);
  return replayed;
}

}  // namespace denoise
