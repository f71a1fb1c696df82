// Features that need no trained network: the pixels themselves, and random convolutions.
#pragma once

#include <memory>
#include <vector>

#include "core/evaluation/feature_extractor.h"

namespace denoise {

// The pixels of pictures shrunk to at most 16 x 16: up to 768 values. They show copies, brightness
// and layout, but little of what a picture depicts.
class PixelFeatures : public FeatureExtractor {
 public:
  at::Tensor Extract(const at::Tensor& pictures) const override;
  std::shared_ptr<const FeatureExtractor> To(at::Device device) const override;
};

// Features of a fixed network with random weights: nothing to download, and the same numbers
// everywhere. They are weak features, but they capture edges, colours and textures at several
// scales and roughly where those are (Saxe et al. 2011, "On Random Weights and Unsupervised Feature
// Learning"). Frechet distances over them rank models of one data set, but are not comparable with
// the FID in papers.
//
// Pictures are shrunk to at most 64 x 64 pixels and converted to 3 channels. Four stages follow,
// each a 3 x 3 convolution of stride 2 with 24 filters, repeating the border, and a ReLU. The
// features of the pixels and of each stage's output are every channel's mean in each quadrant and
// its standard deviation overall: (3 + 4 * 24) * 5 = 495.
//
// Filters have independent uniform weights from a fixed seed. Their mean is subtracted, so that
// flat areas have no features beyond their pixels, and they are scaled to a norm of 1.7, which
// roughly preserves the magnitude from stage to stage.
class RandomConvolutionFeatures : public FeatureExtractor {
 public:
  explicit RandomConvolutionFeatures(at::Device device = at::kCPU);
  at::Tensor Extract(const at::Tensor& pictures) const override;
  std::shared_ptr<const FeatureExtractor> To(at::Device device) const override;

 private:
  std::vector<at::Tensor> filters_;  // of each stage, [24, in, 3, 3]
};

}  // namespace denoise
