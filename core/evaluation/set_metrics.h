// Measures how similar two sets of pictures are, from their features. docs/evaluation.md explains
// the numbers.
//
// Around each picture of a set is a ball that reaches to its k-th nearest neighbour in that set
// (closed, and slightly larger, to allow for float32's rounding). A picture of the other set inside
// one of the balls looks like this set.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "core/evaluation/frechet_distance.h"

namespace denoise {

struct SetMetrics {
  double frechet_distance = 0;  // Heusel et al. 2017, eq. 6
  // Samples in a ball of the real pictures, and real pictures in a ball of the samples:
  // Kynkaanniemi et al. 2019, eq. 1 and 2.
  double precision = 0;
  double recall = 0;
  // Balls of real pictures per sample, divided by k, and balls of real pictures that hold a sample:
  // Naeem et al. 2020, section 3.
  double density = 0;
  double coverage = 0;

  bool operator==(const SetMetrics&) const = default;
};

// Runs the comparison in slices. A slice is a tile of distances (10^6 D products) or a step of the
// Frechet distance; three of those decompose a matrix with min(N, D) rows. With D = 2048, the
// former take a tenth of a second on two cores, the latter a second. Not thread-safe.
class SetComparison {
 public:
  // `samples` [N, D] and `real` [M, D] are float32 or double, on one device, with more than
  // `nearest_neighbours` rows each. `nearest_neighbours` is at least 1. InvalidArgument says what
  // is wrong. The tensors are shared, not copied.
  static absl::StatusOr<SetComparison> Create(const at::Tensor& samples, const at::Tensor& real,
                                              int nearest_neighbours);

  int64_t slices_done() const { return static_cast<int64_t>(next_); }
  int64_t slices_total() const { return static_cast<int64_t>(slices_.size()); }
  bool done() const { return next_ == slices_.size(); }
  void RunSlice();            // requires !done(); throws c10::Error if the device fails
  SetMetrics result() const;  // requires done()

 private:
  struct Set {
    explicit Set(const at::Tensor& rows, int nearest_neighbours);

    at::Tensor rows;
    GaussianFit fit;
    FittedGaussian gaussian;
    at::Tensor nearest;       // [N, k], squared distances to the nearest found so far in this set
    at::Tensor in_a_ball;     // [N] bool, whether it lies in a ball of the other set
    at::Tensor ball_is_used;  // [N] bool, whether its ball holds one of the other set
  };
  enum class Work { kFit, kFinishFit, kFrechetDistance, kNeighbours, kBalls };
  struct Slice {
    Work work;
    Set SetComparison::*set = nullptr;  // kFit, kFinishFit, kNeighbours
    int64_t row = 0;                    // tiles
    int64_t column = 0;
  };

  SetComparison(const at::Tensor& samples, const at::Tensor& real, int nearest_neighbours);
  void PlanSet(Set SetComparison::*set);
  void FindNeighbours(Set& set, int64_t row, int64_t column) const;
  void FillBalls(int64_t row, int64_t column);

  int nearest_neighbours_;
  Set samples_, real_;
  at::Tensor centre_;
  std::vector<Slice> slices_;
  size_t next_ = 0;
  int64_t balls_entered_ = 0;  // pairs of a sample and the ball of a real picture that holds it
  double frechet_distance_ = 0;
};

// Runs the whole comparison.
absl::StatusOr<SetMetrics> CompareSets(const at::Tensor& samples, const at::Tensor& real,
                                       int nearest_neighbours);

}  // namespace denoise
