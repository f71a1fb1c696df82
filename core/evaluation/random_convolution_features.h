// Features of a fixed network with random weights: nothing to download, the same numbers
// everywhere.
//
// Random convolutions are weak features, but features they are: edges, colours and textures at
// several scales, and roughly where in the picture they are (Saxe et al. 2011, "On Random Weights
// and Unsupervised Feature Learning"). Frechet distances over them order models of one data set;
// they cannot be compared with the FID of papers.
#pragma once

#include <vector>

#include "core/evaluation/feature_extractor.h"

namespace denoise {

// Pictures are shrunk to at most 64 x 64 pixels and, gray ones too, seen in 3 channels. Four stages
// follow, each a 3 x 3 convolution of stride 2 with 24 filters and a ReLU; the border repeats. Of
// the pixels and of each stage's output the features are every channel's mean in each quadrant, and
// its deviation over all: (3 + 4 * 24) * 5 = 495.
//
// Filters have independent uniform weights from a fixed seed, less their mean, so that a flat
// picture says nothing beyond its pixels, and are scaled to a norm of 1.7, which about keeps the
// size of what runs through.
class RandomConvolutionFeatures : public FeatureExtractor {
 public:
  explicit RandomConvolutionFeatures(at::Device device = at::kCPU);
  at::Tensor Extract(const at::Tensor& pictures) const override;
  std::shared_ptr<const FeatureExtractor> To(at::Device device) const override;

 private:
  std::vector<at::Tensor> filters_;  // of each stage, [24, in, 3, 3]
};

}  // namespace denoise
