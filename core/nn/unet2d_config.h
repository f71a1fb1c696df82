// The configuration of a UNet2D: a diffusers UNet2DModel's config.json, validated, with defaults
// filled in.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/nn/unet_choices.h"

namespace denoise {

// One level of the down or up blocks. Up blocks are listed from the deepest level.
struct UNet2DLevel {
  bool attention = false;
  Resampling resampling = Resampling::kConv;

  bool operator==(const UNet2DLevel&) const = default;
};

// Make valid ones with ParseUNet2DConfig: then sizes are bounded and divide each other as required,
// and arithmetic on them cannot overflow. Defaults are the library's.
struct UNet2DConfig {
  int64_t height = 0;  // sample_size
  int64_t width = 0;
  int64_t in_channels = 3;
  int64_t out_channels = 3;
  bool center_input_sample = false;  // x becomes 2 x - 1

  TimeEmbeddingType time_embedding_type = TimeEmbeddingType::kPositional;
  int64_t time_embedding_dim = 0;  // default: 4 * block_out_channels[0]
  double freq_shift = 0;
  bool flip_sin_to_cos = true;
  int64_t num_train_timesteps = 0;  // rows of a learned time embedding, otherwise 0

  ClassEmbedding class_embedding = ClassEmbedding::kNone;
  int64_t num_class_embeds = 0;  // number of labels; 0 exactly if class_embedding is kNone

  std::vector<int64_t> block_out_channels = {224, 448, 672, 896};
  std::vector<UNet2DLevel> down_blocks;
  std::vector<UNet2DLevel> up_blocks;
  int64_t layers_per_block = 2;
  bool mid_block = true;
  bool mid_attention = true;          // add_attention
  double mid_block_scale_factor = 1;  // divides the mid block's residual sums
  int64_t downsample_padding = 1;     // 0: pad the right and bottom by one instead

  Activation act_fn = Activation::kSilu;
  TimeShift resnet_time_scale_shift = TimeShift::kDefault;
  int64_t norm_num_groups = 32;
  double norm_eps = 1e-5;
  double dropout = 0;                             // only for training; see CheckTrainable
  std::optional<int64_t> attn_norm_num_groups;    // of the mid block's attention
  std::optional<int64_t> attention_head_dim = 8;  // nullopt: one head

  // The keys that mean nothing to the class (ConfigReader::UnknownKeys), for a note to the user.
  std::vector<std::string> ignored_keys = {};

  int64_t AttentionHeads(int64_t channels) const {
    return attention_head_dim ? channels / *attention_head_dim : 1;
  }
};

// `json` may be anything. InvalidArgument has a field violation per wrong key. Keys that begin with
// an underscore are the library's notes and are ignored, except `_class_name`. As in the library,
// other unknown keys are ignored, too: its EMAModel, for example, adds its own settings.
absl::StatusOr<UNet2DConfig> ParseUNet2DConfig(std::string_view json);

}  // namespace denoise
