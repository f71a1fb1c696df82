// The first step of every image: from a request's pictures and prompts to a trajectory.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "core/device/device_runtime.h"
#include "core/diffusion/trajectory.h"
#include "core/pipeline/pipeline.h"

namespace denoise {

// The rows of `conditioning` that are told a prompt that has not been encoded.
std::vector<SharedCondition> UnencodedConditions(const Conditioning& conditioning);

// The encoded form of conditions, by the conditions that hold the prompts.
using EncodedConditions = std::map<SharedCondition, SharedCondition>;

// Encodes the prompts of `conditions` together. `pipeline` takes prompts, unless there are none.
EncodedConditions EncodePrompts(const std::vector<SharedCondition>& conditions,
                                const Pipeline& pipeline);

// `conditioning` with its prompts encoded: those in `encoded` are taken from there, the others are
// encoded now.
Conditioning EncodeConditioning(Conditioning conditioning, const Pipeline& pipeline,
                                const EncodedConditions& encoded = {});

// What an image starts from. Pictures and masks have the size of the codec's pictures; noise and
// frames have the shape of x.
struct ImageStart {
  uint64_t seed = 0;
  SampleShape shape;  // of x
  Start start = NoiseStart();
  std::optional<Inpainting> inpainting;
};

// The trajectory of an image whose prompts are encoded. Pictures go through the codec. Called under
// c10::InferenceMode; throws c10::Error if the device fails.
//
// Latents are inpainted as by the library's pipelines. A pixel is repainted where the mask is at
// least 0.5, and of the mask, every factor-th pixel of every factor-th row counts. A picture to
// start from counts only if the plan leaves out the steps above its noise level. A network that
// takes a mask (NetworkSpec::condition_channels) gets the mask and the picture with the masked part
// blanked; without an inpainting, a mask that covers everything. For other networks the known part
// is put back after each step: with fresh noise if the plan jumps back to noise, else with the noise
// of the start.
Trajectory BeginTrajectory(std::shared_ptr<const SamplerPlan> plan, Conditioning conditioning,
                           ImageStart image, const Pipeline& pipeline, DeviceRuntime& runtime);

}  // namespace denoise
