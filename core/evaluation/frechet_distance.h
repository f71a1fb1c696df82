// The Frechet distance between Gaussians fitted to two sets of features (Dowson & Landau 1982; of
// Inception features it is the FID of Heusel et al. 2017):
//
//     |mean_1 - mean_2|^2 + tr S_1 + tr S_2 - 2 tr sqrt(S_1^{1/2} S_2 S_1^{1/2})
//
// With any factors S_i = F_i^T F_i the last trace is the sum of the singular values of F_1 F_2^T,
// whose squares are the eigenvalues of S_1 S_2. So where there are fewer rows than dimensions the
// centred rows themselves are the factor: no covariance is made, no root of a singular matrix is
// taken, and directions that no row has cost nothing.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace denoise {

// All double and on the CPU.
struct FittedGaussian {
  at::Tensor mean;    // [D]
  at::Tensor factor;  // [min(N, D), D]; factor^T factor is the unbiased covariance
};

// Fits a Gaussian to rows [N, D] of any floating-point type, on any device; N is at least 2.
class GaussianFit {
 public:
  explicit GaussianFit(at::Tensor rows);

  // AddTile(i) for each i in [0, tiles()), in order, then Finish(). Memory is that of two [D, D]
  // doubles, or of the rows where that is less.
  int64_t tiles() const { return tiles_; }
  void AddTile(int64_t tile);
  FittedGaussian Finish() const;

 private:
  bool FewRows() const { return rows_.size(0) <= rows_.size(1); }

  const at::Tensor rows_;
  const int64_t tiles_;
  at::Tensor mean_;     // [D]
  at::Tensor scatter_;  // [D, D], the sum over centred rows of their outer products
};

// At least 0.
double FrechetDistance(const FittedGaussian& a, const FittedGaussian& b);

}  // namespace denoise
