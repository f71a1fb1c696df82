#include "core/evaluation/frechet_distance.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/linalg_eigvalsh.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

#include "core/evaluation/distances.h"

namespace denoise {
namespace {

// F with F^T F = S: sqrt(w) V^T from the eigendecomposition V w V^T. Rounding may make eigenvalues
// slightly negative.
at::Tensor SymmetricFactor(const at::Tensor& covariance) {
  const auto [values, vectors] = at::linalg_eigh(covariance, "L");
  return values.clamp_min(0).sqrt().unsqueeze(1) * vectors.t();
}

double SumOfSingularValues(const at::Tensor& matrix) {
  const at::Tensor gram =
      matrix.size(0) <= matrix.size(1) ? matrix.matmul(matrix.t()) : matrix.t().matmul(matrix);
  return at::linalg_eigvalsh(gram, "L").clamp_min(0).sqrt().sum().item<double>();
}

double SumOfSquares(const at::Tensor& x) { return (x * x).sum().item<double>(); }

}  // namespace

GaussianFit::GaussianFit(at::Tensor rows)
    : rows_(std::move(rows)), tiles_(FewRows() ? 0 : NumTiles(rows_)), mean_(MeanRow(rows_)) {
  if (FewRows()) return;
  scatter_ = at::zeros({rows_.size(1), rows_.size(1)}, mean_.options());
}

void GaussianFit::AddTile(int64_t tile) {
  const at::Tensor centred = Tile(rows_, tile).to(at::kDouble) - mean_;
  scatter_.addmm_(centred.t(), centred);
}

FittedGaussian GaussianFit::Finish() const {
  const double degrees_of_freedom = static_cast<double>(rows_.size(0) - 1);
  const at::Tensor mean = mean_.cpu();
  if (FewRows()) {
    return {mean, (rows_.cpu().to(at::kDouble) - mean) / std::sqrt(degrees_of_freedom)};
  }
  return {mean, SymmetricFactor(scatter_.cpu() / degrees_of_freedom)};
}

double FrechetDistance(const FittedGaussian& a, const FittedGaussian& b) {
  const double distance = SumOfSquares(a.mean - b.mean) + SumOfSquares(a.factor) +
                          SumOfSquares(b.factor) -
                          2 * SumOfSingularValues(a.factor.matmul(b.factor.t()));
  return std::max(0.0, distance);
}

}  // namespace denoise
