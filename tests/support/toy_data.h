// Distributions of very small pictures whose density and entropy are known.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <vector>

namespace denoise {

// Of pictures of two pixels, [N, 1, 1, 2] float32.
class GaussianMixture {
 public:
  struct Part {
    double weight;  // all sum to 1
    std::array<double, 2> mean;
    double deviation;  // of both pixels
  };

  explicit GaussianMixture(std::vector<Part> parts) : parts_(std::move(parts)) {}

  const std::vector<Part>& parts() const { return parts_; }
  at::Tensor Sample(int64_t count, at::Generator& generator) const;

  // Natural logarithm, [N].
  at::Tensor LogDensity(const at::Tensor& x) const;
  // The part that each picture most probably is of, [N] int64.
  at::Tensor NearestPart(const at::Tensor& x) const;

  // Bits per dimension of its pictures once they are ToPixelValues.
  double EntropyOfPixels() const;

 private:
  at::Tensor LogDensityOfParts(const at::Tensor& x) const;  // [N, parts], weighted

  std::vector<Part> parts_;
};

// Rounds to the 256 values of 8-bit pixels, in [-1, 1].
at::Tensor ToPixelValues(const at::Tensor& x);

GaussianMixture TwoModes();  // 0.3 and 0.7 of all pictures, well apart
GaussianMixture TwoMoons();  // two half circles, one within the other's reach

}  // namespace denoise
