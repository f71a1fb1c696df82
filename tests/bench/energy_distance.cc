#include "tests/bench/energy_distance.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/cdist.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

namespace denoise {
namespace {

constexpr int kSplits = 1000;
constexpr double kConfidence = 0.95;

// Sums over pairs with both samples in the first group, both in the second, and one in each, whose
// members are order[0 .. split) and the rest.
double Distance(const at::TensorAccessor<double, 2>& distances, const std::vector<int64_t>& order,
                size_t split) {
  double within_x = 0, within_y = 0, between = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    for (size_t j = i + 1; j < order.size(); ++j) {
      const double distance = distances[order[i]][order[j]];
      (j < split ? within_x : i >= split ? within_y : between) += distance;
    }
  }
  const double n = static_cast<double>(split), m = static_cast<double>(order.size() - split);
  const double xx = within_x / (n * (n - 1) / 2), yy = within_y / (m * (m - 1) / 2);
  const double xy = between / (n * m);
  return xy == 0 ? 0 : (2 * xy - xx - yy) / (2 * xy);
}

}  // namespace

EnergyDistance MeasureEnergyDistance(const at::Tensor& x, const at::Tensor& y, uint64_t seed) {
  const at::Tensor samples = at::cat({x.flatten(1), y.flatten(1)}).to(at::kDouble);
  const at::Tensor distances = at::cdist(samples, samples);
  const auto pairs = distances.accessor<double, 2>();
  const size_t split = static_cast<size_t>(x.size(0));
  std::vector<int64_t> order(static_cast<size_t>(samples.size(0)));
  std::iota(order.begin(), order.end(), 0);
  EnergyDistance result{.distance = Distance(pairs, order, split), .chance = 0};

  std::mt19937_64 random(seed);
  std::vector<double> by_chance;
  for (int i = 0; i < kSplits; ++i) {
    std::shuffle(order.begin(), order.end(), random);
    by_chance.push_back(Distance(pairs, order, split));
  }
  const auto quantile = by_chance.begin() + static_cast<std::ptrdiff_t>(kConfidence * kSplits);
  std::nth_element(by_chance.begin(), quantile, by_chance.end());
  result.chance = *quantile;
  return result;
}

}  // namespace denoise
