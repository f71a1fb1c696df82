// The Frechet distance between Gaussians fitted to two sets of features (Dowson & Landau 1982; with
// Inception features it is the FID of Heusel et al. 2017):
//
//     |mean_1 - mean_2|^2 + tr S_1 + tr S_2 - 2 tr sqrt(S_1^{1/2} S_2 S_1^{1/2})
//
// For any factors S_i = F_i^T F_i, the last trace is the sum of the singular values of F_1 F_2^T,
// whose squares are the eigenvalues of S_1 S_2. With fewer rows than dimensions, the centred rows
// themselves are such a factor: then no covariance is computed, no root of a singular matrix is
// taken, and directions without any row cost nothing.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace denoise {

// Double tensors on the CPU.
struct FittedGaussian {
  at::Tensor mean;    // [D]
  at::Tensor factor;  // [min(N, D), D]; factor^T factor is the unbiased covariance
};

// Fits a Gaussian to at least 2 rows [N, D] of any floating-point type, on any device.
class GaussianFit {
 public:
  explicit GaussianFit(at::Tensor rows);

  // Call AddTile(i) for each i in [0, tiles()), in order, then Finish(). Needs the memory of two
  // [D, D] doubles, or of the rows if that is less.
  int64_t tiles() const { return tiles_; }
  void AddTile(int64_t tile);
  FittedGaussian Finish() const;

 private:
  bool FewRows() const { return rows_.size(0) <= rows_.size(1); }

  const at::Tensor rows_;
  const int64_t tiles_;
  at::Tensor mean_;     // [D]
  at::Tensor scatter_;  // [D, D], the sum of the centred rows' outer products
};

// At least 0.
double FrechetDistance(const FittedGaussian& a, const FittedGaussian& b);

}  // namespace denoise
