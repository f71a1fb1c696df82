#include "core/evaluation/distances.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

namespace denoise {
namespace {

// The relative squared distance of two computations of the same row: about ten times float32's
// rounding error, squared.
constexpr double kSameRow = 1e-10;

at::Tensor Centred(const at::Tensor& rows, const at::Tensor& centre) {
  return rows.to(at::kDouble) - centre;
}

}  // namespace

int64_t NumTiles(const at::Tensor& rows) { return (rows.size(0) + kTileRows - 1) / kTileRows; }

at::Tensor Tile(const at::Tensor& rows, int64_t tile) {
  const int64_t begin = tile * kTileRows;
  return rows.narrow(0, begin, std::min(kTileRows, rows.size(0) - begin));
}

at::Tensor MeanRow(const at::Tensor& rows) {
  at::Tensor sum = at::zeros({rows.size(1)}, rows.options().dtype(at::kDouble));
  for (int64_t tile = 0; tile < NumTiles(rows); ++tile) {
    sum += Tile(rows, tile).to(at::kDouble).sum(0);
  }
  return sum / rows.size(0);
}

at::Tensor SquaredDistances(const at::Tensor& a, const at::Tensor& b, const at::Tensor& centre) {
  const at::Tensor from = Centred(a, centre), to = Centred(b, centre);
  const at::Tensor norms = (from * from).sum(1).unsqueeze(1) + (to * to).sum(1);
  at::Tensor distances = at::addmm(norms, from, to.t(), /*beta=*/1, /*alpha=*/-2);
  return distances.masked_fill_(distances <= kSameRow * norms, 0);
}

}  // namespace denoise
