#include "core/evaluation/copy_search.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include <cmath>
#include <limits>

#include "core/base/check.h"
#include "core/evaluation/distances.h"

namespace denoise {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kCopyRatio = 1.0 / 3;

// 1, meaning no copy, if there is no second picture to compare with.
double Ratio(double nearest, double second) {
  if (nearest == 0) return 0;
  return std::isinf(second) ? 1 : std::sqrt(nearest / second);
}

}  // namespace

CopySearch::CopySearch(const at::Tensor& samples) {
  const c10::InferenceMode inference;
  centre_ = MeanRow(samples);
  for (int64_t i = 0; i < NumTiles(samples); ++i) {
    const at::Tensor rows = Tile(samples, i);
    tiles_.push_back({.samples = rows,
                      .distances = at::full({rows.size(0), 2}, kInfinity, centre_.options()),
                      .indices = at::zeros({rows.size(0), 2}, rows.options().dtype(at::kLong)),
                      .nearest = rows});  // meaningless until the first picture
  }
}

void CopySearch::BeginPiece(const at::Tensor& pictures) {
  const c10::InferenceMode inference;
  if (piece_.defined()) pictures_before_ += piece_.size(0);
  piece_ = pictures;
  repeated_ = (SquaredDistances(piece_, piece_, centre_) == 0).tril(/*diagonal=*/-1).any(1);
}

// Duplicates of the second nearest need no such treatment: they are just as far away.
at::Tensor CopySearch::DistancesToNew(const SampleTile& tile) const {
  at::Tensor seen = repeated_.unsqueeze(0);
  if (pictures_before_ > 0) {
    seen = seen.logical_or(SquaredDistances(tile.nearest, piece_, centre_) == 0);
  }
  return SquaredDistances(tile.samples, piece_, centre_).masked_fill_(seen, kInfinity);
}

void CopySearch::AddToTile(int64_t index) {
  const c10::InferenceMode inference;
  SampleTile& tile = tiles_[index];
  const at::Tensor numbers =
      at::arange(pictures_before_, pictures_before_ + piece_.size(0), tile.indices.options());
  const at::Tensor distances = at::cat({tile.distances, DistancesToNew(tile)}, 1);
  const at::Tensor indices =
      at::cat({tile.indices, numbers.expand({tile.samples.size(0), piece_.size(0)})}, 1);
  const auto [smallest, places] = at::topk(distances, 2, 1, /*largest=*/false, /*sorted=*/true);
  const at::Tensor place = places.select(1, 0);  // 2 and above are rows of the piece
  tile.nearest = at::where(place.unsqueeze(1) < 2, tile.nearest,
                           piece_.index_select(0, (place - 2).clamp_min(0)));
  tile.distances = smallest;
  tile.indices = indices.gather(1, places);
}

Copies CopySearch::result() const {
  DENOISE_DCHECK(piece_.defined());
  Copies copies;
  int64_t copied = 0;
  for (const SampleTile& tile : tiles_) {
    const at::Tensor distances = tile.distances.cpu(), indices = tile.indices.cpu();
    for (int64_t i = 0; i < distances.size(0); ++i) {
      const double* nearest = distances.data_ptr<double>() + 2 * i;
      copies.nearest.push_back(indices.data_ptr<int64_t>()[2 * i]);
      copies.ratios.push_back(Ratio(nearest[0], nearest[1]));
      copied += copies.ratios.back() < kCopyRatio;
    }
  }
  copies.memorisation_rate =
      static_cast<double>(copied) / static_cast<double>(copies.nearest.size());
  return copies;
}

}  // namespace denoise
