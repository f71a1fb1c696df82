#include "tests/core/sampling/samplers/gaussian_data.h"

#include <algorithm>
#include <cmath>

namespace denoise {
namespace {

// slots' = matrix * slots + offset
struct AffineMap {
  std::vector<Values> matrix;
  Values offset;
};

// What the network says of `input`.
double Answer(const Evaluation& evaluation, const Gaussian& data,
              std::optional<PredictionType> type, double input) {
  if (type.has_value()) return PerfectOutput(data, *type, SeenLevel(evaluation), input);
  const double x = input / evaluation.input_scale;
  return OutputReadAs(Denoise(data, {evaluation.alpha, evaluation.sigma}, x), evaluation, input);
}

// The update of `evaluation` with the perfect network put into it, which is affine in slot 0.
AffineMap WithPerfectNetwork(const Evaluation& evaluation, const Gaussian& data,
                             std::optional<PredictionType> type) {
  const double constant = Answer(evaluation, data, type, 0);
  const double slope = (Answer(evaluation, data, type, 1) - constant) * evaluation.input_scale;
  const int slots = evaluation.update.rows();
  AffineMap map;
  for (int row = 0; row < slots; ++row) {
    const double from_x0 = evaluation.update(row, slots);
    const double from_output =
        evaluation.update(row, slots + 1) + from_x0 * evaluation.x0_from_output;
    Values weights;
    for (int slot = 0; slot < slots; ++slot) weights.push_back(evaluation.update(row, slot));
    weights[0] += from_x0 * evaluation.x0_from_state + from_output * slope;
    map.matrix.push_back(weights);
    map.offset.push_back(from_output * constant);
  }
  return map;
}

double Dot(const Values& a, const Values& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// M * S * M^T of a symmetric S.
std::vector<Values> Conjugate(const std::vector<Values>& m, const std::vector<Values>& s) {
  std::vector<Values> result(m.size(), Values(m.size(), 0.0));
  for (size_t row = 0; row < m.size(); ++row) {
    Values product;
    for (const Values& column : s) product.push_back(Dot(m[row], column));
    for (size_t column = 0; column < m.size(); ++column)
      result[row][column] = Dot(product, m[column]);
  }
  return result;
}

}  // namespace

Gaussian Noised(const Gaussian& data, const NoiseLevel& level) {
  return {level.alpha * data.mean, std::hypot(level.alpha * data.deviation, level.sigma)};
}

double Denoise(const Gaussian& data, const NoiseLevel& level, double x) {
  const Gaussian noised = Noised(data, level);
  return data.mean + level.alpha * Square(data.deviation / noised.deviation) * (x - noised.mean);
}

double Denoise(const Mixture& data, const NoiseLevel& level, double x) {
  double weighted = 0, weights = 0;
  for (const Gaussian& part : data) {
    const Gaussian noised = Noised(part, level);
    const double z = (x - noised.mean) / noised.deviation;
    const double weight = std::exp(-z * z / 2) / noised.deviation;
    weighted += weight * Denoise(part, level, x);
    weights += weight;
  }
  return weighted / weights;
}

double CumulativeProbability(const Mixture& data, const NoiseLevel& level, double x) {
  double sum = 0;
  for (const Gaussian& part : data) {
    const Gaussian noised = Noised(part, level);
    sum += 0.5 * std::erfc((noised.mean - x) / (noised.deviation * std::sqrt(2.0)));
  }
  return sum / static_cast<double>(data.size());
}

double Quantile(const Mixture& data, const NoiseLevel& level, double probability) {
  double below = -100, above = 100;
  while (true) {
    const double middle = (below + above) / 2;
    if (middle <= below || middle >= above) return middle;
    (CumulativeProbability(data, level, middle) < probability ? below : above) = middle;
  }
}

double OutputFor(double x0, PredictionType type, const NoiseLevel& seen, double x) {
  const double epsilon = (x - seen.alpha * x0) / seen.sigma;
  switch (type) {
    case PredictionType::kEpsilon:
      return epsilon;
    case PredictionType::kSample:
      return x0;
    case PredictionType::kVPrediction:
      return seen.alpha * epsilon - seen.sigma * x0;
    case PredictionType::kFlowPrediction:
      return epsilon - x0;
    case PredictionType::kInvertedFlowPrediction:
      return x0 - epsilon;
  }
  return 0;
}

double PerfectOutput(const Gaussian& data, PredictionType type, const NoiseLevel& seen, double x) {
  return OutputFor(Denoise(data, seen, x), type, seen, x);
}

double OutputReadAs(double x0, const Evaluation& evaluation, double input) {
  return (x0 - evaluation.x0_from_state * input / evaluation.input_scale) /
         evaluation.x0_from_output;
}

NoiseLevel SeenLevel(const Evaluation& evaluation) {
  return {evaluation.input_scale * evaluation.alpha, evaluation.input_scale * evaluation.sigma};
}

NoiseLevel LevelOfLambda(double lambda) {
  const double alpha = 1 / std::sqrt(1 + std::exp(-2 * lambda));
  return {alpha, alpha * std::exp(-lambda)};
}

Gaussian DistributionAfter(const SamplerPlan& plan, const Gaussian& start, const Gaussian& data,
                           std::optional<PredictionType> type) {
  Values mean(plan.slots, 0.0);
  std::vector<Values> covariance(plan.slots, Values(plan.slots, 0.0));
  mean[0] = start.mean;
  covariance[0][0] = Square(start.deviation);
  for (const Evaluation& evaluation : plan.evaluations) {
    const AffineMap map = WithPerfectNetwork(evaluation, data, type);
    Values next = map.offset;
    for (size_t row = 0; row < next.size(); ++row) next[row] += Dot(map.matrix[row], mean);
    mean = next;
    covariance = Conjugate(map.matrix, covariance);
    covariance[0][0] += Square(std::get<double>(evaluation.noise));
  }
  return {mean[0], std::sqrt(std::max(0.0, covariance[0][0]))};  // 0 but for rounding
}

}  // namespace denoise
