// Distributions of tiny pictures with known density and entropy.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <vector>

namespace denoise {

// A mixture of Gaussians over pictures of two pixels, [N, 1, 1, 2] float32.
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

  // The natural logarithm of the density, [N].
  at::Tensor LogDensity(const at::Tensor& x) const;
  // The most probable part for each picture, [N] int64.
  at::Tensor NearestPart(const at::Tensor& x) const;

  // The bits per dimension of its pictures after ToPixelValues.
  double EntropyOfPixels() const;

 private:
  at::Tensor LogDensityOfParts(const at::Tensor& x) const;  // [N, parts], weighted

  std::vector<Part> parts_;
};

// Rounds to the 256 values of 8-bit pixels, in [-1, 1].
at::Tensor ToPixelValues(const at::Tensor& x);

GaussianMixture TwoModes();  // with weights 0.3 and 0.7, well separated
GaussianMixture TwoMoons();  // two interlocking half circles

}  // namespace denoise
