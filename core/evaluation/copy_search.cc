#include "core/evaluation/copy_search.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "core/evaluation/distances.h"

namespace denoise {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kCopyRatio = 1.0 / 3;

// 1, no copy, where there is no second picture to compare with.
double Ratio(double nearest, double second) {
  if (nearest == 0) return 0;
  return std::isinf(second) ? 1 : std::sqrt(nearest / second);
}

}  // namespace

CopySearch::CopySearch(at::Tensor samples) : samples_(std::move(samples)) {
  const c10::InferenceMode inference;
  const int64_t count = samples_.size(0);
  centre_ = MeanRow(samples_);
  distances_ = at::full({count, 2}, kInfinity, samples_.options().dtype(at::kDouble));
  indices_ = at::zeros({count, 2}, samples_.options().dtype(at::kLong));
  nearest_ = at::zeros_like(samples_);
}

// A copy of the second nearest changes nothing: it is as far away.
at::Tensor CopySearch::DistancesToNew(const at::Tensor& pictures) const {
  const at::Tensor repeated =
      (SquaredDistances(pictures, pictures, centre_) == 0).tril(/*diagonal=*/-1).any(1);
  at::Tensor seen = repeated.unsqueeze(0);
  if (pictures_ > 0) {
    seen = seen.logical_or(SquaredDistances(nearest_, pictures, centre_) == 0);
  }
  return SquaredDistances(samples_, pictures, centre_).masked_fill_(seen, kInfinity);
}

void CopySearch::Add(const at::Tensor& pictures) {
  const c10::InferenceMode inference;
  const at::Tensor numbers =
      at::arange(pictures_, pictures_ + pictures.size(0), indices_.options());
  const at::Tensor distances = at::cat({distances_, DistancesToNew(pictures)}, 1);
  const at::Tensor indices =
      at::cat({indices_, numbers.expand({samples_.size(0), pictures.size(0)})}, 1);
  const auto [smallest, places] = at::topk(distances, 2, 1, /*largest=*/false, /*sorted=*/true);
  const at::Tensor place = places.select(1, 0).unsqueeze(1);
  const at::Tensor features = pictures.index_select(0, (place.squeeze(1) - 2).clamp_min(0));
  nearest_ = at::where(place < 2, nearest_, features.to(nearest_.scalar_type()));
  distances_ = smallest;
  indices_ = indices.gather(1, places);
  pictures_ += pictures.size(0);
}

Copies CopySearch::result() const {
  const at::Tensor distances = distances_.cpu(), indices = indices_.cpu();
  Copies copies;
  int64_t copied = 0;
  for (int64_t i = 0; i < samples_.size(0); ++i) {
    const double* nearest = distances.data_ptr<double>() + 2 * i;
    copies.nearest.push_back(indices.data_ptr<int64_t>()[2 * i]);
    copies.ratios.push_back(Ratio(nearest[0], nearest[1]));
    copied += copies.ratios.back() < kCopyRatio;
  }
  copies.memorisation_rate = static_cast<double>(copied) / static_cast<double>(samples_.size(0));
  return copies;
}

}  // namespace denoise
