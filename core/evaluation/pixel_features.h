// Pictures compared pixel by pixel.
#pragma once

#include "core/evaluation/feature_extractor.h"

namespace denoise {

// Pictures shrunk to at most 16 x 16 pixels: up to 768 values. They tell copies, brightness and
// layout, and little of what a picture shows.
class PixelFeatures : public FeatureExtractor {
 public:
  at::Tensor Extract(const at::Tensor& pictures) const override;
  std::shared_ptr<const FeatureExtractor> To(at::Device device) const override;
};

}  // namespace denoise
