// From a tokenized prompt to the states that a network is told.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "core/text/encoders/clip_text_encoder.h"
#include "core/text/tokenizers/prompt.h"

namespace denoise {

// float32, on the encoder's device.
struct PromptStates {
  at::Tensor states;  // [chunks * max_length, hidden_size]: the chunks one after the other
  at::Tensor pooled;  // [pooled_width] of the first chunk; undefined unless asked for
};

// Encodes every chunk of every prompt as a text of its own, all in one call, and applies their
// weights. Errors are those of ClipTextEncoder::Encode.
std::vector<PromptStates> EncodePrompts(const ClipTextEncoder& encoder,
                                        const std::vector<TokenizedPrompt>& prompts,
                                        const TextStateOptions& options,
                                        const TextAdapters& adapters = {});

// Multiplies the states [T, width] of one chunk by the weights of its T tokens, and then all of
// them by one number that restores their mean, as the widely used web interfaces do. (If the
// weighted mean is zero, it stays.) With weights of 1, returns `states` itself.
at::Tensor ApplyWeights(const at::Tensor& states, const std::vector<float>& weights);

}  // namespace denoise
