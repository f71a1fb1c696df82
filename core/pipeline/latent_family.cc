#include "core/pipeline/latent_family.h"

#include <algorithm>

namespace denoise {
namespace {

const std::vector<LatentFamily::TextPart>& OneText() {
  static const std::vector<LatentFamily::TextPart> kParts = {{"tokenizer", "text_encoder"}};
  return kParts;
}

const std::vector<LatentFamily::TextPart>& TwoTexts() {
  static const std::vector<LatentFamily::TextPart> kParts = {{"tokenizer", "text_encoder"},
                                                             {"tokenizer_2", "text_encoder_2"}};
  return kParts;
}

LatentFamily StableDiffusion(std::string_view pipeline) {
  return {.pipeline = pipeline,
          .texts = OneText(),
          .states = TextStateOptions::StableDiffusion,
          .corrects_scheduler = true,
          .guidance_scale = 7.5};
}

LatentFamily StableDiffusionXl(std::string_view pipeline, double guidance_scale) {
  return {.pipeline = pipeline,
          .texts = TwoTexts(),
          .states = TextStateOptions::StableDiffusionXl,
          .codec_statistics = true,
          .guidance_scale = guidance_scale};
}

const std::vector<LatentFamily>& Families() {
  static const std::vector<LatentFamily> kFamilies = {
      // Rombach et al. 2022; 2.x and Turbo differ in configurations only.
      StableDiffusion("StableDiffusionPipeline"),
      StableDiffusion("StableDiffusionImg2ImgPipeline"),
      StableDiffusion("StableDiffusionInpaintPipeline"),
      // Podell et al. 2023. The refiner is published as Img2Img, with its second text encoder
      // alone.
      StableDiffusionXl("StableDiffusionXLPipeline", 5),
      StableDiffusionXl("StableDiffusionXLImg2ImgPipeline", 5),
      StableDiffusionXl("StableDiffusionXLInpaintPipeline", 7.5),
      // Luo et al. 2023: guidance is an input of the network.
      {.pipeline = "LatentConsistencyModelPipeline",
       .texts = OneText(),
       .states = TextStateOptions::StableDiffusion,
       .guidance_scale = 8.5},
      // Rombach et al. 2022, unconditional.
      {.pipeline = "LDMPipeline", .codec = "vqvae"},
  };
  return kFamilies;
}

}  // namespace

const LatentFamily* FindLatentFamily(std::string_view pipeline) {
  const auto found =
      std::find_if(Families().begin(), Families().end(),
                   [&](const LatentFamily& family) { return family.pipeline == pipeline; });
  return found == Families().end() ? nullptr : &*found;
}

std::vector<std::string_view> LatentPipelines() {
  std::vector<std::string_view> pipelines;
  for (const LatentFamily& family : Families()) pipelines.push_back(family.pipeline);
  return pipelines;
}

}  // namespace denoise
