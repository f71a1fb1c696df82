// Pictures as the numbers by which sets of them are compared. docs/evaluation.md says which suit
// what.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

namespace denoise {

// Immutable and thread-safe, on one device. A picture's features depend on that picture alone, up
// to rounding.
class FeatureExtractor {
 public:
  virtual ~FeatureExtractor() = default;

  // `pictures` [B, C, H, W] float32 in [-1, 1], of 1 or 3 channels, on this device; [B, D] float32
  // there, where D is the same for pictures of one shape. Throws c10::Error where the device fails.
  // Gradients are not turned off here.
  virtual at::Tensor Extract(const at::Tensor& pictures) const = 0;

  // The same on `device`. Throws c10::Error where there is no such device, or no memory on it.
  virtual std::shared_ptr<const FeatureExtractor> To(at::Device device) const = 0;
};

}  // namespace denoise
