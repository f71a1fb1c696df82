#include "core/evaluation/set_metrics.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/evaluation/distances.h"

namespace denoise {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Factor of a ball's squared radius. A sample that copies a picture lies on the surface of every
// ball that ends at that picture.
constexpr double kRadiusSlack = 1 + 1e-5;

absl::Status CheckRows(absl::string_view name, const at::Tensor& rows, int nearest_neighbours) {
  if (rows.dim() != 2 || rows.size(1) == 0 ||
      (rows.scalar_type() != at::kFloat && rows.scalar_type() != at::kDouble)) {
    return absl::InvalidArgumentError(absl::StrCat(name, " must be rows of float32 or double"));
  }
  const int64_t least = std::max(2, nearest_neighbours + 1);
  if (rows.size(0) < least) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " must have at least ", least, " rows, has ", rows.size(0)));
  }
  for (int64_t tile = 0; tile < NumTiles(rows); ++tile) {
    if (at::isfinite(Tile(rows, tile)).all().item<bool>()) continue;
    return absl::InvalidArgumentError(absl::StrCat(name, " must be finite"));
  }
  return absl::OkStatus();
}

// `nearest` [N, k] becomes the smallest of itself and `distances` [N, M].
void KeepSmallest(const at::Tensor& nearest, const at::Tensor& distances) {
  const at::Tensor all = at::cat({nearest, distances}, 1);
  nearest.copy_(std::get<0>(at::topk(all, nearest.size(1), 1, /*largest=*/false)));
}

double Part(const at::Tensor& flags) {
  return static_cast<double>(flags.sum().item<int64_t>()) / static_cast<double>(flags.size(0));
}

}  // namespace

SetComparison::Set::Set(const at::Tensor& features, int nearest_neighbours)
    : rows(features),
      fit(features),
      nearest(at::full({rows.size(0), nearest_neighbours}, kInfinity,
                       rows.options().dtype(at::kDouble))),
      in_a_ball(at::zeros({rows.size(0)}, rows.options().dtype(at::kBool))),
      ball_is_used(in_a_ball.clone()) {}

absl::StatusOr<SetComparison> SetComparison::Create(const at::Tensor& samples,
                                                    const at::Tensor& real,
                                                    int nearest_neighbours) {
  const c10::InferenceMode inference;
  if (nearest_neighbours < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("nearest_neighbours must be at least 1, is ", nearest_neighbours));
  }
  RETURN_IF_ERROR(CheckRows("samples", samples, nearest_neighbours));
  RETURN_IF_ERROR(CheckRows("real", real, nearest_neighbours));
  if (samples.size(1) != real.size(1) || samples.device() != real.device()) {
    return absl::InvalidArgumentError(
        "samples and real must have the same number of features and be on the same device");
  }
  return SetComparison(samples, real, nearest_neighbours);
}

SetComparison::SetComparison(const at::Tensor& samples, const at::Tensor& real,
                             int nearest_neighbours)
    : nearest_neighbours_(nearest_neighbours),
      samples_(samples, nearest_neighbours),
      real_(real, nearest_neighbours),
      centre_(MeanRow(real)) {
  PlanSet(&SetComparison::samples_);
  PlanSet(&SetComparison::real_);
  slices_.push_back({Work::kFrechetDistance});
  for (int64_t row = 0; row < NumTiles(samples); ++row) {
    for (int64_t column = 0; column < NumTiles(real); ++column) {
      slices_.push_back({Work::kBalls, nullptr, row, column});
    }
  }
}

// Plans the slices that concern one set alone. Distances are symmetric, so half the tiles suffice.
void SetComparison::PlanSet(Set SetComparison::*set) {
  for (int64_t tile = 0; tile < (this->*set).fit.tiles(); ++tile) {
    slices_.push_back({Work::kFit, set, tile});
  }
  slices_.push_back({Work::kFinishFit, set});
  const int64_t tiles = NumTiles((this->*set).rows);
  for (int64_t row = 0; row < tiles; ++row) {
    for (int64_t column = row; column < tiles; ++column) {
      slices_.push_back({Work::kNeighbours, set, row, column});
    }
  }
}

void SetComparison::RunSlice() {
  DENOISE_DCHECK(!done());
  const c10::InferenceMode inference;
  const Slice& slice = slices_[next_];
  switch (slice.work) {
    case Work::kFit:
      (this->*slice.set).fit.AddTile(slice.row);
      break;
    case Work::kFinishFit:
      (this->*slice.set).gaussian = (this->*slice.set).fit.Finish();
      break;
    case Work::kFrechetDistance:
      frechet_distance_ = FrechetDistance(samples_.gaussian, real_.gaussian);
      break;
    case Work::kNeighbours:
      FindNeighbours(this->*slice.set, slice.row, slice.column);
      break;
    case Work::kBalls:
      FillBalls(slice.row, slice.column);
      break;
  }
  ++next_;
}

// A row is not its own neighbour.
void SetComparison::FindNeighbours(Set& set, int64_t row, int64_t column) const {
  at::Tensor distances = SquaredDistances(Tile(set.rows, row), Tile(set.rows, column), centre_);
  if (row == column) distances.fill_diagonal_(kInfinity);
  KeepSmallest(Tile(set.nearest, row), distances);
  if (row != column) KeepSmallest(Tile(set.nearest, column), distances.t());
}

void SetComparison::FillBalls(int64_t row, int64_t column) {
  const auto squared_radii = [](const Set& set, int64_t tile) {
    return std::get<0>(Tile(set.nearest, tile).max(1)) * kRadiusSlack;
  };
  const at::Tensor distances =
      SquaredDistances(Tile(samples_.rows, row), Tile(real_.rows, column), centre_);
  const at::Tensor in_real = distances <= squared_radii(real_, column);
  const at::Tensor in_samples = distances <= squared_radii(samples_, row).unsqueeze(1);
  Tile(samples_.in_a_ball, row).logical_or_(in_real.any(1));
  Tile(samples_.ball_is_used, row).logical_or_(in_samples.any(1));
  Tile(real_.in_a_ball, column).logical_or_(in_samples.any(0));
  Tile(real_.ball_is_used, column).logical_or_(in_real.any(0));
  balls_entered_ += in_real.sum().item<int64_t>();
}

SetMetrics SetComparison::result() const {
  DENOISE_DCHECK(done());
  const double pairs =
      static_cast<double>(nearest_neighbours_) * static_cast<double>(samples_.rows.size(0));
  return {.frechet_distance = frechet_distance_,
          .precision = Part(samples_.in_a_ball),
          .recall = Part(real_.in_a_ball),
          .density = static_cast<double>(balls_entered_) / pairs,
          .coverage = Part(real_.ball_is_used)};
}

absl::StatusOr<SetMetrics> CompareSets(const at::Tensor& samples, const at::Tensor& real,
                                       int nearest_neighbours) {
  ASSIGN_OR_RETURN(SetComparison comparison,
                   SetComparison::Create(samples, real, nearest_neighbours));
  while (!comparison.done()) comparison.RunSlice();
  return comparison.result();
}

}  // namespace denoise
