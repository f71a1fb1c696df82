// The features that the FID in papers is computed from (Heusel et al. 2017).
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "core/evaluation/feature_extractor.h"
#include "core/evaluation/inception_blocks.h"
#include "core/nn/state_dict.h"

namespace denoise {

// Inception v3 (Szegedy et al. 2016) up to its last pooling, with 2048 features, in the variant of
// pytorch-fid: average pools ignore the padding, and the last block uses a max pool. Pictures are
// resized bilinearly to 299 x 299, aligned by pixel centres, and stay in [-1, 1]; gray is repeated
// in 3 channels. Weights have the names of torchvision and pytorch-fid.
class InceptionFeatures : public FeatureExtractor {
 public:
  // Loads a safetensors file to the CPU. Ignores the classifier's tensors ("fc.", "AuxLogits.") and
  // the counters of batch normalisation. InvalidArgument, with a field violation for each tensor
  // that is missing, unexpected, misshapen or not finite; other errors are those of
  // SafetensorsFile::Open. Copies the weights.
  static absl::StatusOr<std::shared_ptr<const InceptionFeatures>> Load(
      const std::filesystem::path& path);
  static absl::StatusOr<std::shared_ptr<const InceptionFeatures>> Create(const StateDict& weights);

  at::Tensor Extract(const at::Tensor& pictures) const override;
  std::shared_ptr<const FeatureExtractor> To(at::Device device) const override;

 private:
  explicit InceptionFeatures(std::vector<InceptionBlock> blocks) : blocks_(std::move(blocks)) {}

  std::vector<InceptionBlock> blocks_;
};

}  // namespace denoise
