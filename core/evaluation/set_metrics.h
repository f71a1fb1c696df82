// How like two sets of pictures are, as numbers over their features. docs/evaluation.md says how to
// read them.
//
// Each picture of a set has a ball around it, which reaches to its k-th nearest neighbour in that
// set (closed, and a little wider than float32 can tell); a picture of the other set that lies in
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
  double precision =
      0;              // samples in a ball of the real ones: Kynkaanniemi et al. 2019, eq. 1 and 2
  double recall = 0;  // real ones in a ball of the samples
  double density =
      0;  // balls of the real ones a sample lies in, over k: Naeem et al. 2020, section 3
  double coverage = 0;  // balls of the real ones that hold a sample: the same

  bool operator==(const SetMetrics&) const = default;
};

// The comparison in slices, each a tile of distances (10^6 D products) or a step of the Frechet
// distance, of which three decompose a matrix of the smaller of N and D rows: on two cores a tenth
// of a second and a second where D = 2048. Not thread-safe.
class SetComparison {
 public:
  // `samples` [N, D] and `real` [M, D], float32 or double, on one device; both of more than
  // `nearest_neighbours` rows, which is at least 1, and of 2 at least. InvalidArgument says what is
  // wrong. The tensors are shared, not copied.
  static absl::StatusOr<SetComparison> Create(const at::Tensor& samples, const at::Tensor& real,
                                              int nearest_neighbours);

  int64_t slices_done() const { return static_cast<int64_t>(next_); }
  int64_t slices_total() const { return static_cast<int64_t>(slices_.size()); }
  bool done() const { return next_ == slices_.size(); }
  void RunSlice();            // requires !done(); throws c10::Error where the device fails
  SetMetrics result() const;  // requires done()

 private:
  struct Set {
    explicit Set(const at::Tensor& rows, int nearest_neighbours);

    at::Tensor rows;
    GaussianFit fit;
    FittedGaussian gaussian;
    at::Tensor nearest;       // [N, k], squared distances to the nearest so far in this set
    at::Tensor in_a_ball;     // [N] bool, of the other set
    at::Tensor ball_is_used;  // [N] bool, by one of the other set
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
  int64_t balls_entered_ = 0;  // by samples, of the real ones
  double frechet_distance_ = 0;
};

// All of it at once.
absl::StatusOr<SetMetrics> CompareSets(const at::Tensor& samples, const at::Tensor& real,
                                       int nearest_neighbours);

}  // namespace denoise
