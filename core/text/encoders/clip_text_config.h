// The config.json of a CLIP text encoder, CLIPTextModel or CLIPTextModelWithProjection of the
// Python library.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace denoise {

enum class TextActivation {
  kQuickGelu,  // x sigmoid(1.702 x) (Radford et al. 2021)
  kGelu,       // x Phi(x), exactly (Hendrycks & Gimpel 2016)
  kGeluTanh,   // its approximation with tanh
  kRelu,
  kSilu,
};

// Defaults are the library's.
struct ClipTextConfig {
  int64_t vocab_size = 49408;
  int64_t hidden_size = 512;
  int64_t intermediate_size = 2048;
  int64_t projection_dim = 512;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 8;
  int64_t max_position_embeddings = 77;
  TextActivation hidden_act = TextActivation::kQuickGelu;
  double layer_norm_eps = 1e-5;
  int64_t eos_token_id = 49407;
  // Whether the pooled text goes through a projection. nullopt: the file does not say; the weights
  // decide.
  std::optional<bool> with_projection;
  // Keys that do not affect what the encoder computes.
  std::vector<std::string> ignored_keys;
};

// `json` may be anything. InvalidArgument has a field violation per wrong key, also for keys that
// would change what the encoder computes in a way that it cannot.
absl::StatusOr<ClipTextConfig> ParseClipTextConfig(std::string_view json);

}  // namespace denoise
