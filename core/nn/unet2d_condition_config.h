// The configuration of a UNet2DCondition: a diffusers UNet2DConditionModel's config.json,
// validated, with defaults filled in.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/nn/unet_choices.h"

namespace denoise {

// One resolution of the network: a down block, and the up block that ends there.
struct UNet2DConditionLevel {
  int64_t channels = 0;    // block_out_channels
  int64_t layers = 2;      // layers_per_block: resnets of the down block; the up block has one more
  int64_t heads = 8;       // of every attention
  bool only_text = false;  // only_cross_attention: the first attention of a transformer block, too,
                           // attends to the text
  // The number of transformer blocks after each resnet; empty: no attention.
  std::vector<int64_t> down_transformers = {};  // `layers` numbers
  std::vector<int64_t> up_transformers = {};    // `layers` + 1 numbers
};

enum class ConditionMidBlock { kNone, kResnet, kCrossAttention };

// Sizes of the text_time embedding, with which SDXL reads a pooled text and numbers.
struct TextTimeConfig {
  int64_t number_dim = 0;  // addition_time_embed_dim: of each number's sines and cosines
  int64_t input_dim = 0;   // projection_class_embeddings_input_dim: pooled text, then the numbers
};

// Make valid ones with ParseUNet2DConditionConfig: then sizes are bounded and divide each other as
// required, and arithmetic on them cannot overflow. Defaults are the library's.
struct UNet2DConditionConfig {
  int64_t height = 0;  // sample_size
  int64_t width = 0;
  int64_t in_channels = 4;
  int64_t out_channels = 4;
  bool center_input_sample = false;  // the input becomes 2 x - 1
  int64_t conv_in_kernel = 3;        // odd
  int64_t conv_out_kernel = 3;       // odd

  int64_t time_embedding_dim = 0;  // default: 4 * block_out_channels[0]
  double freq_shift = 0;
  bool flip_sin_to_cos = true;
  std::optional<int64_t> time_cond_proj_dim;  // of a distilled guidance scale's embedding

  ClassEmbedding class_embedding = ClassEmbedding::kNone;  // or kTable, kTimestep
  int64_t num_class_embeds = 0;  // number of labels; 0 exactly if class_embedding is kNone

  std::optional<TextTimeConfig> text_time;  // addition_embed_type

  std::vector<UNet2DConditionLevel> levels;  // from the highest resolution
  ConditionMidBlock mid_block = ConditionMidBlock::kCrossAttention;
  int64_t mid_transformers = 1;        // number of transformer blocks
  double mid_block_scale_factor = 1;   // divides the residual sums of the mid block's resnets
  int64_t downsample_padding = 1;      // 0: pad the right and bottom by one instead
  int64_t cross_attention_dim = 0;     // width of the text
  bool use_linear_projection = false;  // how the transformers' projections are stored

  Activation act_fn = Activation::kSilu;
  TimeShift resnet_time_scale_shift = TimeShift::kDefault;
  int64_t norm_num_groups = 32;
  double norm_eps = 1e-5;

  // The keys that mean nothing to the class (ConfigReader::UnknownKeys), for a note to the user.
  std::vector<std::string> ignored_keys = {};
};

// `json` may be anything. InvalidArgument has a field violation per key that is wrong or asks for
// what is not supported. Other keys are treated as by ParseUNet2DConfig.
absl::StatusOr<UNet2DConditionConfig> ParseUNet2DConditionConfig(std::string_view json);

}  // namespace denoise
