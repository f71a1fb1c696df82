#include "core/pipeline/pixel_pipeline.h"

#include <utility>

#include "core/base/status_macros.h"
#include "core/diffusion/device_errors.h"
#include "core/io/checkpoint.h"
#include "core/io/model_folder.h"
#include "core/io/weights.h"
#include "core/nn/unet2d.h"

namespace denoise {
namespace {

class Pixel final : public PipelineParts {
 public:
  explicit Pixel(ParsedModel model)
      : model_(std::move(model)), description_(DescribePixelPipeline(model_.description())) {}

  const PipelineDescription& description() const override { return description_; }
  absl::StatusOr<std::string> Version() const override {
    return WithoutExceptions([&] { return VersionOf(model_); });
  }
  absl::StatusOr<Pipeline> Load(const PipelineOptions& options) const override {
    return CatchDeviceErrors([&]() -> absl::StatusOr<Pipeline> {
      ASSIGN_OR_RETURN(
          auto network,
          LoadNetwork(model_, {.batch_invariant = options.batch_invariant}, options.placement));
      return *PixelPipeline(std::move(network));
    });
  }
  std::map<std::string, std::string> Texts() const override {
    const ModelFileNames& names = model_.names();
    return {{names.model_index, model_.texts().model_index},
            {names.unet_config, model_.texts().unet_config},
            {names.scheduler_config, model_.texts().scheduler_config}};
  }
  const Weights* FindWeights(const std::string& part) const override {
    return part == "unet" && !model_.weights().tensors.empty() ? &model_.weights() : nullptr;
  }

 private:
  const ParsedModel model_;
  const PipelineDescription description_;
};

}  // namespace

PipelineDescription DescribePixelPipeline(const ModelDescription& model) {
  const NetworkSpec spec = NetworkSpecOf(model.unet);
  return {.source = model.source,
          .network = spec,
          .codec = {.picture_channels = spec.sample.channels,
                    .latent_channels = spec.sample.channels,
                    .is_identity = true},
          .scheduler = model.scheduler,
          .schedule = model.schedule,
          .id2label = model.id2label,
          .null_class_label = model.null_class_label,
          .num_parameters = spec.num_parameters,
          .ignored_keys = model.ignored_keys,
          .parts = {{"unet", "UNet2DModel", spec.num_parameters}}};
}

std::shared_ptr<const PipelineParts> PixelParts(ParsedModel model) {
  return std::make_shared<const Pixel>(std::move(model));
}

}  // namespace denoise
