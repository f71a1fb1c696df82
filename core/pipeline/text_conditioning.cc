#include "core/pipeline/text_conditioning.h"

#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>

#include <utility>
#include <vector>

namespace denoise {
namespace {

// Of a network that is told a score.
constexpr int64_t kNumTimeIdsWithScore = 5;

at::Tensor TimeIds(const SizeConditions& sizes, int64_t count) {
  std::vector<double> ids = {
      static_cast<double>(sizes.original[0]), static_cast<double>(sizes.original[1]),
      static_cast<double>(sizes.crop[0]), static_cast<double>(sizes.crop[1])};
  if (count == kNumTimeIdsWithScore) {
    ids.push_back(sizes.aesthetic_score);
  } else {
    ids.push_back(static_cast<double>(sizes.target[0]));
    ids.push_back(static_cast<double>(sizes.target[1]));
  }
  return at::tensor(ids, at::kFloat);
}

}  // namespace

Conditioning MakeTextConditioning(const TextRequest& request, const NetworkSpec& network) {
  const auto told = [&](std::shared_ptr<const Prompt> prompt, const SizeConditions& sizes) {
    Condition condition{.prompt = std::move(prompt), .adapters = request.adapters};
    if (network.num_time_ids > 0) condition.time_ids = TimeIds(sizes, network.num_time_ids);
    if (network.guidance_embedding) {
      condition.guidance_scale = at::full({1}, request.guidance.scale, at::kFloat);
    }
    return std::make_shared<const Condition>(std::move(condition));
  };
  Conditioning conditioning{.conditions = {{told(request.prompt, request.sizes)}}};
  if (network.guidance_embedding || request.guidance.scale <= 1) return conditioning;
  conditioning.unconditional = told(request.negative, request.negative_sizes);
  conditioning.guidance = request.guidance;
  return conditioning;
}

}  // namespace denoise
