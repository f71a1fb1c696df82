// The stages of generating images from prompts, as a server runs them, timed one by one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "core/device/device_runtime.h"
#include "core/diffusion/denoising_loop.h"
#include "core/diffusion/trajectory.h"
#include "core/nn/placement.h"
#include "core/pipeline/parsed_pipeline.h"
#include "core/pipeline/pipeline.h"
#include "core/sampling/samplers/plan.h"

namespace denoise {

// What loading a model cost.
struct LoadCost {
  double seconds = 0;
  double peak_mib = 0;     // resident memory at its highest, less what there was before
  double weights_mib = 0;  // of all weights in the dtype that the model computes in
};

// A latent model that takes prompts, loaded to `placement`. Not thread-safe. Methods run under
// c10::InferenceMode and return seconds. Sides are those of square pictures, in pixels, multiples
// of the codec's factor.
class TextToImageStages {
 public:
  // FailedPrecondition: the model takes no prompts. Other errors are those of ParsedPipeline.
  static absl::StatusOr<TextToImageStages> Load(const std::filesystem::path& folder,
                                                const Placement& placement, LoadCost& cost);

  // Encodes a prompt that was not encoded before.
  double EncodePrompt();
  // Evaluates `batch` images of one row each: the network call, and the update of the images.
  double Evaluate(int64_t side, int batch);
  // Turns the prediction of an evaluation into a preview.
  double Preview(int64_t side);
  // A picture, in the tiles of the server.
  double EncodePicture(int64_t side);
  double DecodePicture(int64_t side);

 private:
  TextToImageStages(PipelineDescription description, Pipeline pipeline, SamplerPlan plan,
                    at::Device device);

  // Until the device has finished.
  double SecondsOf(const std::function<void()>& work) const;
  at::Tensor Noise(uint64_t seed, const SampleShape& shape) const;

  SampleShape LatentShape(int64_t side) const;
  std::shared_ptr<const Prompt> NewPrompt();
  Trajectory Begin(int64_t side, uint64_t seed) const;

  PipelineDescription description_;
  std::shared_ptr<const Pipeline> pipeline_;
  std::shared_ptr<const SamplerPlan> plan_;
  std::shared_ptr<DeviceRuntime> runtime_;
  std::unique_ptr<DenoisingLoop> loop_;
  std::shared_ptr<const Prompt> prompt_;
  int prompts_ = 0;
};

}  // namespace denoise
