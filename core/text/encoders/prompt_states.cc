#include "core/text/encoders/prompt_states.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cstdint>

namespace denoise {

std::vector<PromptStates> EncodePrompts(const ClipTextEncoder& encoder,
                                        const std::vector<TokenizedPrompt>& prompts,
                                        const TextStateOptions& options,
                                        const TextAdapters& adapters) {
  std::vector<std::vector<int64_t>> texts;
  for (const TokenizedPrompt& prompt : prompts) {
    for (const PromptChunk& chunk : prompt.chunks) texts.push_back(chunk.ids);
  }
  const EncodedTexts encoded = encoder.Encode(texts, options, adapters);
  std::vector<PromptStates> results;
  int64_t text = 0;
  for (const TokenizedPrompt& prompt : prompts) {
    PromptStates& result = results.emplace_back();
    if (options.pooled) result.pooled = encoded.pooled[text];
    std::vector<at::Tensor> chunks;
    for (const PromptChunk& chunk : prompt.chunks) {
      chunks.push_back(ApplyWeights(encoded.states[text++], chunk.weights));
    }
    result.states = at::cat(chunks);
  }
  return results;
}

at::Tensor ApplyWeights(const at::Tensor& states, const std::vector<float>& weights) {
  TORCH_CHECK(states.dim() == 2 && states.size(0) == static_cast<int64_t>(weights.size()),
              "states ", states.sizes(), " have ", weights.size(), " weights");
  if (std::all_of(weights.begin(), weights.end(), [](float w) { return w == 1; })) return states;
  const at::Tensor factors = at::tensor(weights, at::kFloat).to(states.device()).unsqueeze(1);
  const at::Tensor weighted = states * factors;
  // In double precision, because means are small differences of large sums.
  const at::Tensor ratio = states.to(at::kDouble).mean() / weighted.to(at::kDouble).mean();
  const at::Tensor scale = at::where(at::isfinite(ratio), ratio, at::ones_like(ratio));
  return weighted * scale.to(at::kFloat);
}

}  // namespace denoise
