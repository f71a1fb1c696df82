// Which samples are copies of pictures of the data.
//
// A sample is a copy where the nearest picture is less than a third as far away as the second nearest
// (Yoon et al. 2023, "Diffusion Probabilistic Models Generalize When They Fail to Memorize"): among
// many dimensions the distances to the nearest two are otherwise all but equal. Pictures that are in
// the data twice count once, as those are what a network memorises first.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace denoise {

struct Copies {
  double memorisation_rate = 0;  // the part of samples that are copies
  std::vector<int64_t> nearest;  // of each sample, the index of the nearest picture
  std::vector<double> ratios;    // distance to it over that to the second nearest, in [0, 1]
};

// Sees the pictures a piece at a time and keeps none but the nearest. Not thread-safe.
class CopySearch {
 public:
  // Features of N samples, [N, D] floating-point and finite.
  explicit CopySearch(at::Tensor samples);

  // Features of further pictures, [M, D] on the same device; best a few hundred, since it takes [N, M]
  // doubles. They are counted from 0 over all calls. Throws c10::Error where the device fails.
  void Add(const at::Tensor& pictures);

  Copies result() const;  // requires a picture

 private:
  // [N, M] squared distances, infinite where the picture has been seen before.
  at::Tensor DistancesToNew(const at::Tensor& pictures) const;

  at::Tensor samples_;
  at::Tensor centre_;
  at::Tensor distances_;  // [N, 2] double, squared, to the nearest two
  at::Tensor indices_;    // [N, 2] int64
  at::Tensor nearest_;    // [N, D], features of the nearest
  int64_t pictures_ = 0;
};

}  // namespace denoise
