// The configurations of a latent diffusion model's folder, each parsed and checked by itself.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "core/codec/autoencoder_config.h"
#include "core/io/model_folder.h"
#include "core/nn/unet2d_condition.h"
#include "core/nn/unet2d_config.h"
#include "core/pipeline/latent_family.h"
#include "core/pipeline/pipeline_index.h"
#include "core/sampling/options/scheduler_config.h"
#include "core/text/encoders/clip_text_config.h"
#include "core/text/tokenizers/clip_tokenizer.h"

namespace denoise {

// Components that all latent models have.
inline constexpr char kUnet[] = "unet";
inline constexpr char kScheduler[] = "scheduler";
inline constexpr char kUnetConfigFile[] = "unet/config.json";
inline constexpr char kSchedulerConfigFile[] = "scheduler/scheduler_config.json";

// Components that pipelines work without: they judge pictures, or encode ones that guide.
inline constexpr std::array<std::string_view, 3> kUnusedComponents = {
    "safety_checker", "feature_extractor", "image_encoder"};

// One text encoder and its tokenizer.
struct TextPart {
  std::string tokenizer;  // names of their folders
  std::string encoder;
  std::shared_ptr<const ClipTokenizer> tokens;
  ClipTextConfig config;

  int64_t pooled_width() const {
    return config.with_projection.value_or(true) ? config.projection_dim : config.hidden_size;
  }
};

struct LatentConfigs {
  PipelineIndex index;
  std::variant<UNet2DConditionConfig, UNet2DConfig> network;
  UNet2DConditionOptions options;  // of a UNet2DCondition
  AutoencoderConfig codec;
  std::vector<TextPart> texts;
  SchedulerConfig scheduler;
  std::map<std::string, std::string> files;  // the texts of all configurations, by name
};

// Reads the configurations of `folder`, a model of `family`. Errors name the file, and are
// InvalidArgument with a violation of the key where a configuration is at fault.
absl::StatusOr<LatentConfigs> ReadLatentConfigs(const ModelFolder& folder,
                                                const LatentFamily& family);

}  // namespace denoise
