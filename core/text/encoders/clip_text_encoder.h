// CLIP's text encoder (Radford et al. 2021): a transformer in which each token sees those before
// it. Weight-compatible with CLIPTextModel and CLIPTextModelWithProjection of the Python library,
// which Stable Diffusion 1, 2 and XL use.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "core/nn/adapter.h"
#include "core/nn/layer_shapes.h"
#include "core/nn/placement.h"
#include "core/nn/state_dict.h"
#include "core/nn/stored_tensor.h"
#include "core/nn/weight_initializer.h"
#include "core/text/encoders/clip_text_config.h"

namespace denoise {

// Which states of a text the network is told.
struct TextStateOptions {
  // Leave out this many of the last layers.
  int64_t skip_layers = 0;
  // Apply the final LayerNorm to the states.
  bool final_norm = true;
  // Compute the pooled text as well; it needs all layers.
  bool pooled = true;

  // What pipelines mean by `clip_skip` k >= 0. Stable Diffusion 1 and 2 leave out k layers, and
  // normalise. XL leaves out one more, and does not normalise.
  static TextStateOptions StableDiffusion(int64_t clip_skip = 0) {
    return {.skip_layers = clip_skip, .final_norm = true, .pooled = false};
  }
  static TextStateOptions StableDiffusionXl(int64_t clip_skip = 0) {
    return {.skip_layers = clip_skip + 1, .final_norm = false, .pooled = true};
  }
};

// float32, on the encoder's device.
struct EncodedTexts {
  at::Tensor states;  // [B, T, hidden_size]
  // [B, pooled_width()]: the last layer's normalised state at the end of each text, projected if
  // the encoder has a projection. Undefined unless asked for.
  at::Tensor pooled;
};

// The adapters of a call, of a model whose text encoder `index` this one is.
struct TextAdapters {
  AppliedAdapters adapters;
  size_t index = 0;
};

// The layers of such an encoder that an adapter can change, with the shapes of their weights. The
// projection is among them only if `config` says that there is one.
LayerShapes ClipTextLayers(const ClipTextConfig& config);

// The weights of a new encoder: norms with 1 and 0, biases 0, all else normal with deviation 0.02.
// A projection as above.
nn::WeightInitializer ClipTextInitializer(const ClipTextConfig& config);

// The number of parameters of such an encoder, on the same terms.
int64_t CountClipTextParameters(const ClipTextConfig& config);

// Immutable and thread-safe. An encoder has one device and one dtype; To() makes a copy with
// others.
//
// On the CPU each text is encoded by itself, so it is the same bit for bit in any batch. Methods
// throw c10::Error if a shape is wrong or the device fails, and do not turn off gradients: call
// them under c10::InferenceMode.
class ClipTextEncoder {
 public:
  // Builds the encoder at `placement` as CreateUNet2D builds a network. Names may begin with
  // "text_model." or not. A tensor `position_ids`, which old files have, is ignored.
  static absl::StatusOr<std::shared_ptr<const ClipTextEncoder>> Create(
      const ClipTextConfig& config, const NamedTensors& weights, const Placement& placement = {});
  ~ClipTextEncoder();

  // `texts` are B > 0 lists of T ids each, 1 <= T <= max_position_embeddings. Requires ids below
  // vocab_size, and 0 <= skip_layers <= num_hidden_layers.
  EncodedTexts Encode(const std::vector<std::vector<int64_t>>& texts,
                      const TextStateOptions& options = {},
                      const TextAdapters& adapters = {}) const;

  // The same encoder on `device` in `dtype`; itself if nothing changes. Throws c10::Error if there
  // is no such device or it is out of memory.
  std::shared_ptr<const ClipTextEncoder> To(at::Device device, at::ScalarType dtype) const;

  const ClipTextConfig& config() const;
  at::Device device() const;
  at::ScalarType dtype() const;
  int64_t pooled_width() const;
  int64_t num_parameters() const;
  // Its tensors under the library's names, which begin with "text_model." but for the projection's.
  const StateDict& parameters() const;

 private:
  friend nn::WeightInitializer ClipTextInitializer(const ClipTextConfig& config);

  struct Parts;

  explicit ClipTextEncoder(std::shared_ptr<const Parts> parts);

  std::shared_ptr<const Parts> parts_;
};

}  // namespace denoise
