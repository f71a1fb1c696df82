#include "tests/support/toy_data.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/log.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/multinomial.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/round.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include <cmath>

namespace denoise {
namespace {

constexpr int kPixelValues = 256;

// What of a Gaussian falls to each pixel value; the outermost bins are open.
std::vector<double> PixelProbabilities(double mean, double deviation) {
  const auto below = [&](int edge) {  // of the bin with that value
    if (edge == 0) return 0.0;
    if (edge == kPixelValues) return 1.0;
    const double x = (edge - 0.5) / 127.5 - 1;
    return 0.5 * std::erfc((mean - x) / (deviation * std::sqrt(2.0)));
  };
  std::vector<double> probabilities;
  for (int i = 0; i < kPixelValues; ++i) probabilities.push_back(below(i + 1) - below(i));
  return probabilities;
}

// Along a half circle that begins at `angle`.
void AddMoon(double x, double y, double angle, std::vector<GaussianMixture::Part>& parts) {
  constexpr int kParts = 16;
  constexpr double kRadius = 0.5;
  for (int i = 0; i < kParts; ++i) {
    const double at = angle + M_PI * i / (kParts - 1);
    parts.push_back({.weight = 0.5 / kParts,
                     .mean = {x + kRadius * std::cos(at), y + kRadius * std::sin(at)},
                     .deviation = 0.1});
  }
}

}  // namespace

at::Tensor GaussianMixture::Sample(int64_t count, at::Generator& generator) const {
  std::vector<double> weights, means, deviations;
  for (const Part& part : parts_) {
    weights.push_back(part.weight);
    means.insert(means.end(), part.mean.begin(), part.mean.end());
    deviations.push_back(part.deviation);
  }
  const at::Tensor chosen =
      at::multinomial(at::tensor(weights), count, /*replacement=*/true, generator);
  const at::Tensor mean = at::tensor(means).to(at::kFloat).view({-1, 2}).index_select(0, chosen);
  const at::Tensor deviation = at::tensor(deviations).to(at::kFloat).index_select(0, chosen);
  const at::Tensor noise = at::randn({count, 2}, generator, at::kFloat);
  return (mean + deviation.view({-1, 1}) * noise).view({count, 1, 1, 2});
}

at::Tensor GaussianMixture::LogDensityOfParts(const at::Tensor& x) const {
  const at::Tensor flat = x.to(at::kDouble).view({-1, 2});
  std::vector<at::Tensor> columns;
  for (const Part& part : parts_) {
    const at::Tensor mean = at::tensor({part.mean[0], part.mean[1]}, at::kDouble);
    const at::Tensor distance = at::pow((flat - mean) / part.deviation, 2).sum(1);
    columns.push_back(std::log(part.weight / (2 * M_PI * part.deviation * part.deviation)) -
                      0.5 * distance);
  }
  return at::stack(columns, 1);
}

at::Tensor GaussianMixture::LogDensity(const at::Tensor& x) const {
  return at::logsumexp(LogDensityOfParts(x), {1});
}

at::Tensor GaussianMixture::NearestPart(const at::Tensor& x) const {
  return LogDensityOfParts(x).argmax(1);
}

double GaussianMixture::EntropyOfPixels() const {
  std::vector<double> joint(kPixelValues * kPixelValues);
  for (const Part& part : parts_) {
    const std::vector<double> first = PixelProbabilities(part.mean[0], part.deviation);
    const std::vector<double> second = PixelProbabilities(part.mean[1], part.deviation);
    for (size_t i = 0; i < joint.size(); ++i)
      joint[i] += part.weight * first[i / kPixelValues] * second[i % kPixelValues];
  }
  double bits = 0;
  for (double probability : joint)
    if (probability > 0) bits -= probability * std::log2(probability);
  return bits / 2;
}

at::Tensor ToPixelValues(const at::Tensor& x) {
  return at::round((x.clamp(-1, 1) + 1) * 127.5) / 127.5 - 1;
}

GaussianMixture TwoModes() {
  return GaussianMixture({{.weight = 0.3, .mean = {-0.5, 0.4}, .deviation = 0.1},
                          {.weight = 0.7, .mean = {0.5, -0.2}, .deviation = 0.1}});
}

GaussianMixture TwoMoons() {
  std::vector<GaussianMixture::Part> parts;
  AddMoon(-0.25, -0.125, 0, parts);
  AddMoon(0.25, 0.125, M_PI, parts);
  return GaussianMixture(parts);
}

}  // namespace denoise
