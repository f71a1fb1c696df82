// The configurations of the autoencoders of latent diffusion: config.json of the diffusers classes
// AutoencoderKL, AutoencoderTiny and VQModel, validated, with defaults filled in.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "core/nn/unet2d_config.h"

namespace denoise {

// How latents relate to x, what a network denoises: x = (latents - mean) / std * scaling_factor.
// Pipelines differ in which of these they use; see CodecOptions.
struct LatentScaling {
  double scaling_factor = 1;
  std::optional<double> shift_factor;  // nullopt: null in the file
  // One per channel of the latents; both or neither. Empty: null in the file.
  std::vector<double> mean;
  std::vector<double> std;
};

// Encoder and decoder of AutoencoderKL and VQModel.
struct EncoderDecoderConfig {
  int64_t picture_channels = 3;  // in_channels and out_channels
  int64_t latent_channels = 4;
  std::vector<int64_t> block_out_channels = {64};  // every level but the last halves the resolution
  std::vector<bool> down_attention = {false};      // AttnDownEncoderBlock2D, one per level
  std::vector<bool> up_attention = {false};        // AttnUpDecoderBlock2D, from the deepest level
  int64_t layers_per_block = 1;
  bool mid_attention = true;  // mid_block_add_attention
  int64_t norm_num_groups = 32;
  Activation act_fn = Activation::kSilu;

  // Pixels for one latent, along each side.
  int64_t Factor() const { return int64_t{1} << (block_out_channels.size() - 1); }
};

// Make valid configurations with the functions below: then sizes are bounded and divide each other
// as required, and arithmetic on them cannot overflow. Defaults are the library's.
struct AutoencoderKLConfig {
  EncoderDecoderConfig blocks;
  bool quant_conv = true;       // use_quant_conv
  bool post_quant_conv = true;  // use_post_quant_conv
  LatentScaling scaling = {.scaling_factor = 0.18215};
  bool force_upcast = true;  // float16 overflows
  // The keys that mean nothing to the class (ConfigReader::UnknownKeys), for a note to the user.
  std::vector<std::string> ignored_keys = {};
};

struct VQModelConfig {
  EncoderDecoderConfig blocks = {.latent_channels = 3};
  int64_t num_codes = 256;  // num_vq_embeddings
  int64_t code_width = 3;   // vq_embed_dim; default: latent_channels
  LatentScaling scaling = {.scaling_factor = 0.18215};
  bool force_upcast = false;
  std::vector<std::string> ignored_keys = {};
};

struct AutoencoderTinyConfig {
  int64_t picture_channels = 3;  // in_channels and out_channels
  int64_t latent_channels = 4;
  // One number per level: encoder_block_out_channels are all equal, and so are those of the
  // decoder.
  int64_t encoder_channels = 64;
  int64_t decoder_channels = 64;
  std::vector<int64_t> num_encoder_blocks = {1, 3, 3, 3};
  std::vector<int64_t> num_decoder_blocks = {3, 3, 3, 1};
  Activation act_fn = Activation::kRelu;
  // Where latents are stored as a picture, latents / (2 * magnitude) + shift is in [0, 1]. Encoding
  // and decoding do not use it.
  double latent_magnitude = 3;
  double latent_shift = 0.5;
  LatentScaling scaling;
  std::vector<std::string> ignored_keys = {};

  // Pixels for one latent, along each side.
  int64_t Factor() const { return int64_t{1} << (num_encoder_blocks.size() - 1); }
};

using AutoencoderConfig = std::variant<AutoencoderKLConfig, AutoencoderTinyConfig, VQModelConfig>;

// Parses any of the three, as `_class_name` says. `json` may be anything. InvalidArgument has a
// field violation per wrong key. Keys that begin with an underscore are the library's notes and are
// ignored, except `_class_name`. As in the library, other unknown keys are ignored, too.
absl::StatusOr<AutoencoderConfig> ParseAutoencoderConfig(std::string_view json);

const std::vector<std::string>& IgnoredKeys(const AutoencoderConfig& config);

}  // namespace denoise
