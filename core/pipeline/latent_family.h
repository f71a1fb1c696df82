// The families of latent diffusion models, each as a card: what its folder holds, and what its
// pipeline in the Python library does with it.
#pragma once

#include <string_view>
#include <vector>

#include "core/pipeline/clip_prompts.h"

namespace denoise {

struct LatentFamily {
  std::string_view pipeline;  // `_class_name` of model_index.json

  struct TextPart {
    std::string_view tokenizer;  // names of components
    std::string_view encoder;
  };
  // In the order in which the network is told their states. Those that the index declares absent
  // are left out; there is at least one, unless the list is empty.
  std::vector<TextPart> texts;
  StatesOfClipSkip states = nullptr;

  std::string_view codec = "vae";
  // Whether latents_mean and latents_std of the codec's configuration count.
  bool codec_statistics = false;

  // The pipeline sets steps_offset to 1 and clip_sample to false, whatever the scheduler's
  // configuration says.
  bool corrects_scheduler = false;

  // Guidance where a request says nothing; 1: none.
  double guidance_scale = 1;
};

// Null: no such family.
const LatentFamily* FindLatentFamily(std::string_view pipeline);

// The pipelines of all families.
std::vector<std::string_view> LatentPipelines();

}  // namespace denoise
