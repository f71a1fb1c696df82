// The features that the FID of papers is computed over (Heusel et al. 2017).
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "core/evaluation/feature_extractor.h"
#include "core/evaluation/inception_blocks.h"
#include "core/nn/state_dict.h"

namespace denoise {

// Inception v3 (Szegedy et al. 2016) up to its last pooling, 2048 features, as pytorch-fid has it:
// its average pools leave the padding aside, and the last block pools maxima. Pictures are resized
// to 299 x 299, bilinearly between pixels' centres, and kept in [-1, 1]; gray ones are repeated in
// 3 channels. Weights have the names that torchvision and pytorch-fid give them.
class InceptionFeatures : public FeatureExtractor {
 public:
  // From a safetensors file, onto the CPU. The classifier's tensors ("fc.", "AuxLogits.") and the
  // counters of batch normalisation are left aside; every other must be there, fit and be finite.
  // InvalidArgument with a field violation for each tensor that is not so; other errors are those
  // of SafetensorsFile::Open. Copies the weights.
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
