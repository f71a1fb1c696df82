#include "tests/bench/text_to_image_stages.h"

#include <c10/core/InferenceMode.h>

#include <chrono>
#include <functional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/codec/tiled_pass.h"
#include "core/diffusion/noise_source.h"
#include "core/pipeline/begin.h"
#include "core/pipeline/text_conditioning.h"
#include "core/sampling/samplers/compile_plan.h"
#include "tests/support/process_memory.h"

namespace denoise {
namespace {

constexpr int kSteps = 20;

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void Finish(TiledPass pass) {
  while (!pass.done()) pass.Advance();
}

// The weights stay in `pipeline` alone.
absl::StatusOr<PipelineDescription> LoadPipeline(const std::filesystem::path& folder,
                                                 const Placement& placement, Pipeline& pipeline) {
  ASSIGN_OR_RETURN(const ParsedPipeline parsed, ParsedPipeline::Open(folder));
  ASSIGN_OR_RETURN(pipeline, parsed.Load({.placement = placement}));
  return parsed.description();
}

absl::StatusOr<SamplerPlan> PlanOf(const PipelineDescription& description) {
  SamplerOptions sampler = description.scheduler.sampler;
  sampler.steps = kSteps;
  return CompilePlan(description.schedule, sampler);
}

}  // namespace

absl::StatusOr<TextToImageStages> TextToImageStages::Load(const std::filesystem::path& folder,
                                                          const Placement& placement,
                                                          LoadCost& cost) {
  ResetPeakMemory();
  const double before = ResidentMebibytes();
  Pipeline pipeline;
  const auto start = Clock::now();
  ASSIGN_OR_RETURN(PipelineDescription description, LoadPipeline(folder, placement, pipeline));
  cost.seconds = SecondsSince(start);
  cost.peak_mib = PeakMebibytes() - before;
  cost.weights_mib = static_cast<double>(description.num_parameters) *
                     static_cast<double>(c10::elementSize(placement.dtype)) / (1 << 20);
  if (description.prompts == nullptr) {
    return absl::FailedPreconditionError("the model takes no prompts");
  }
  ASSIGN_OR_RETURN(SamplerPlan plan, PlanOf(description));
  return TextToImageStages(std::move(description), std::move(pipeline), std::move(plan),
                           placement.device);
}

TextToImageStages::TextToImageStages(PipelineDescription description, Pipeline pipeline,
                                     SamplerPlan plan, at::Device device)
    : description_(std::move(description)),
      pipeline_(std::make_shared<const Pipeline>(std::move(pipeline))),
      plan_(std::make_shared<const SamplerPlan>(std::move(plan))),
      runtime_(MakeDeviceRuntime(device)),
      loop_(std::make_unique<DenoisingLoop>(*pipeline_->network, runtime_)),
      prompt_(NewPrompt()) {}

double TextToImageStages::SecondsOf(const std::function<void()>& work) const {
  runtime_->Mark()->Wait();
  const auto start = Clock::now();
  work();
  runtime_->Mark()->Wait();
  return SecondsSince(start);
}

at::Tensor TextToImageStages::Noise(uint64_t seed, const SampleShape& shape) const {
  return NoiseSource(seed).Draw(shape.sizes()).unsqueeze(0).to(runtime_->device());
}

SampleShape TextToImageStages::LatentShape(int64_t side) const {
  const CodecSpec& codec = pipeline_->codec->spec();
  return {codec.latent_channels, side / codec.factor, side / codec.factor};
}

std::shared_ptr<const Prompt> TextToImageStages::NewPrompt() {
  const std::string text = absl::StrCat("a red fox in the snow, number ", ++prompts_);
  return description_.prompts->Read({.text = text}).value();
}

double TextToImageStages::EncodePrompt() {
  const c10::InferenceMode inference;
  const auto condition = std::make_shared<const Condition>(Condition{.prompt = NewPrompt()});
  return SecondsOf([&] { pipeline_->prompts->Encode({condition}); });
}

Trajectory TextToImageStages::Begin(int64_t side, uint64_t seed) const {
  const TextRequest request{.prompt = prompt_,
                            .negative = prompt_,
                            .sizes = {.original = {side, side}, .target = {side, side}}};
  Conditioning conditioning =
      EncodeConditioning(MakeTextConditioning(request, pipeline_->network->spec()), *pipeline_);
  return BeginTrajectory(plan_, std::move(conditioning), {.seed = seed, .shape = LatentShape(side)},
                         *pipeline_, *runtime_);
}

double TextToImageStages::Evaluate(int64_t side, int batch) {
  const c10::InferenceMode inference;
  std::vector<Trajectory> images;
  for (int i = 0; i < batch; ++i) images.push_back(Begin(side, static_cast<uint64_t>(i)));
  std::vector<Trajectory*> together;
  for (Trajectory& image : images) together.push_back(&image);
  return SecondsOf([&] { loop_->Evaluate(together); });
}

double TextToImageStages::Preview(int64_t side) {
  const c10::InferenceMode inference;
  const at::Tensor x0 = Noise(1, LatentShape(side));
  return SecondsOf([&] { pipeline_->preview->Apply(x0); });
}

double TextToImageStages::EncodePicture(int64_t side) {
  const c10::InferenceMode inference;
  const int64_t channels = pipeline_->codec->spec().picture_channels;
  const at::Tensor picture = Noise(1, {channels, side, side}).clamp(-1, 1);
  const at::Tensor noise = Noise(2, LatentShape(side));
  return SecondsOf([&] {
    Finish(TiledPass::Encode(pipeline_->codec, picture, noise, /*use_statistics=*/true, {}));
  });
}

double TextToImageStages::DecodePicture(int64_t side) {
  const c10::InferenceMode inference;
  const at::Tensor latents = Noise(1, LatentShape(side));
  return SecondsOf([&] { Finish(TiledPass::Decode(pipeline_->codec, latents, {})); });
}

}  // namespace denoise
