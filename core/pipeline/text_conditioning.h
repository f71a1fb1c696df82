// From what a request says of its text to what the rows of its images are told.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "core/diffusion/guidance.h"
#include "core/nn/network.h"
#include "core/pipeline/prompt.h"

namespace denoise {

// The sizes that SDXL is told (Podell et al. 2023, section 2.2), and the aesthetic score that its
// refiner is told instead of the last.
struct SizeConditions {
  using Pair = std::array<int64_t, 2>;  // height and width, or top and left, in pixels
  Pair original;
  Pair crop = {0, 0};
  Pair target;
  double aesthetic_score = 6;
};

struct TextRequest {
  std::shared_ptr<const Prompt> prompt;
  std::shared_ptr<const Prompt> negative;  // what the unconditional row is told
  Guidance guidance;
  SizeConditions sizes;
  SizeConditions negative_sizes;
  AppliedAdapters adapters;  // of both rows and of their texts
};

// As the library's pipelines have it, a scale of guidance of 1 and less means none: the prompt's
// prediction stands alone. A network that takes the scale as an input is told it, and takes one
// row. Prompts are not encoded yet.
Conditioning MakeTextConditioning(const TextRequest& request, const NetworkSpec& network);

}  // namespace denoise
