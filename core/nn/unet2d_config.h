// What a UNet2D looks like: a diffusers UNet2DModel's config.json, checked and with its defaults
// filled in.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace denoise {

enum class Activation { kSilu, kMish, kGelu, kRelu };
enum class TimeEmbeddingType { kPositional, kFourier, kLearned };
enum class ClassEmbedding { kNone, kTable, kTimestep, kIdentity };
// How a resnet block hears of the time: an added shift, or a scale and a shift after its second
// norm.
enum class TimeShift { kDefault, kScaleShift };
// How a level changes resolution: a strided or post-upsampling convolution, or a resnet block
// around a pool or repeat.
enum class Resampling { kConv, kResnet };

// One level of the way down or up. The way up is listed from the deepest level.
struct UNet2DLevel {
  bool attention = false;
  Resampling resampling = Resampling::kConv;

  bool operator==(const UNet2DLevel&) const = default;
};

// Only ParseUNet2DConfig makes valid ones: sizes are bounded, divide where they must, and
// arithmetic on them cannot overflow. Defaults are the library's.
struct UNet2DConfig {
  int64_t height = 0;  // sample_size
  int64_t width = 0;
  int64_t in_channels = 3;
  int64_t out_channels = 3;
  bool center_input_sample = false;  // x becomes 2 x - 1

  TimeEmbeddingType time_embedding_type = TimeEmbeddingType::kPositional;
  int64_t time_embedding_dim = 0;  // absent in the file: 4 * block_out_channels[0]
  double freq_shift = 0;
  bool flip_sin_to_cos = true;
  int64_t num_train_timesteps = 0;  // rows of the learned time embedding; 0 with any other type

  ClassEmbedding class_embedding = ClassEmbedding::kNone;
  int64_t num_class_embeds = 0;  // labels offered; 0 exactly when class_embedding is kNone

  std::vector<int64_t> block_out_channels = {224, 448, 672, 896};
  std::vector<UNet2DLevel> down_blocks;
  std::vector<UNet2DLevel> up_blocks;
  int64_t layers_per_block = 2;
  bool mid_block = true;
  bool mid_attention = true;          // add_attention
  double mid_block_scale_factor = 1;  // what the mid block's residual sums are divided by
  int64_t downsample_padding = 1;     // 0: the right and bottom are padded by one instead

  Activation act_fn = Activation::kSilu;
  TimeShift resnet_time_scale_shift = TimeShift::kDefault;
  int64_t norm_num_groups = 32;
  double norm_eps = 1e-5;
  double dropout = 0;                             // while training only; see CheckTrainable
  std::optional<int64_t> attn_norm_num_groups;    // of the mid block's attention
  std::optional<int64_t> attention_head_dim = 8;  // nullopt: one head

  int64_t AttentionHeads(int64_t channels) const {
    return attention_head_dim ? channels / *attention_head_dim : 1;
  }
};

// `json` is hostile: any bytes are answered. InvalidArgument carries a field violation per wrong
// key. Keys that begin with an underscore are notes of the library; of them `_class_name` is
// checked. All others that are not known are refused.
absl::StatusOr<UNet2DConfig> ParseUNet2DConfig(std::string_view json);

}  // namespace denoise
