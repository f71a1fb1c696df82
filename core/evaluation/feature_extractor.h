// Maps pictures to the numbers by which sets of pictures are compared. docs/evaluation.md says
// which features to use when.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

namespace denoise {

// Immutable and thread-safe, on one device. A picture's features depend on that picture alone, up
// to rounding.
class FeatureExtractor {
 public:
  virtual ~FeatureExtractor() = default;

  // Takes `pictures` [B, C, H, W], float32 in [-1, 1] with 1 or 3 channels, on this device. Returns
  // [B, D] float32, where D depends only on the pictures' shape. Throws c10::Error if the device
  // fails. Does not turn off gradients.
  virtual at::Tensor Extract(const at::Tensor& pictures) const = 0;

  // The same features on `device`. Throws c10::Error if there is no such device or it is out of
  // memory.
  virtual std::shared_ptr<const FeatureExtractor> To(at::Device device) const = 0;
};

// Averages `pictures` [B, C, H, W] over areas so that neither side is longer than `longest` pixels,
// approximately keeping their proportions. Smaller pictures are returned unchanged.
at::Tensor ShrinkPictures(const at::Tensor& pictures, int64_t longest);

// [B, 3, H, W]: gray is repeated.
at::Tensor AsRgb(const at::Tensor& pictures);

}  // namespace denoise
