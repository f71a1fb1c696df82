#include "core/pipeline/begin.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/slice.h>
#include <ATen/ops/zeros.h>

#include <utility>
#include <variant>
#include <vector>

#include "core/base/check.h"
#include "core/codec/tiled_pass.h"

namespace denoise {
namespace {

bool IsUnencoded(const SharedCondition& condition) {
  return condition != nullptr && condition->prompt != nullptr && !condition->text_states.defined();
}

// An inpainting of pictures that repaints everything.
Inpainting RepaintAll(const SampleShape& x, const CodecSpec& codec) {
  const int64_t height = x.height * codec.factor, width = x.width * codec.factor;
  return {.picture = at::zeros({codec.picture_channels, height, width}),
          .mask = at::ones({1, height, width})};
}

// Every factor-th pixel of every factor-th row.
at::Tensor ReduceMask(const at::Tensor& mask, int64_t factor) {
  return mask.slice(1, 0, std::nullopt, factor).slice(2, 0, std::nullopt, factor).contiguous();
}

SharedCondition WithChannels(const SharedCondition& condition, const at::Tensor& channels) {
  if (condition == nullptr) return nullptr;
  Condition with_channels = *condition;
  with_channels.channels = channels;
  return std::make_shared<const Condition>(std::move(with_channels));
}

// Turns the pictures of an image into latents, and tells the network what it must know of them.
class LatentStart {
 public:
  LatentStart(const SamplerPlan& plan, const Pipeline& pipeline, DeviceRuntime& runtime,
              ImageStart& image, Conditioning& conditioning, NoiseSource& source)
      : plan_(plan),
        codec_(pipeline.codec),
        takes_mask_(pipeline.network->spec().condition_channels > 0),
        runtime_(runtime),
        image_(image),
        conditioning_(conditioning),
        source_(source) {}

  void Prepare() {
    if (takes_mask_ || image_.inpainting.has_value()) return PrepareInpainting();
    if (auto* start = std::get_if<PictureStart>(&image_.start)) {
      start->picture = Encode(start->picture, DrawSample(), /*use_statistics=*/true).to(at::kCPU);
    }
  }

 private:
  void PrepareInpainting();
  void SetConditionChannels(const at::Tensor& channels);

  // The noise of a codec that samples latents, [C, h, w] on the CPU; otherwise undefined.
  at::Tensor DrawSample() {
    return codec_->spec().samples_latents ? source_.Draw(image_.shape.sizes()) : at::Tensor();
  }

  // The latents [C, h, w] of `picture` [C', H, W], on the device. Large ones are encoded in tiles,
  // which bounds the memory.
  at::Tensor Encode(const at::Tensor& picture, const at::Tensor& sample,
                    bool use_statistics = false) {
    at::Tensor noise;
    if (sample.defined()) noise = UploadCopy(sample, runtime_).unsqueeze(0);
    TiledPass pass = TiledPass::Encode(codec_, UploadCopy(picture, runtime_).unsqueeze(0), noise,
                                       use_statistics, TileOptions());
    while (!pass.done()) pass.Advance();
    return pass.result()[0];
  }

  const SamplerPlan& plan_;
  const std::shared_ptr<const Codec> codec_;
  const bool takes_mask_;
  DeviceRuntime& runtime_;
  ImageStart& image_;
  Conditioning& conditioning_;
  NoiseSource& source_;
};

// Draws in the library's order, also where the result is of no use.
void LatentStart::PrepareInpainting() {
  const bool paints_all = !image_.inpainting.has_value();
  Inpainting inpainting =
      paints_all ? RepaintAll(image_.shape, codec_->spec()) : *std::move(image_.inpainting);
  image_.inpainting.reset();
  if (!paints_all && plan_.first_step == 0 && std::holds_alternative<PictureStart>(image_.start)) {
    image_.start = NoiseStart();
  }
  auto* start = std::get_if<PictureStart>(&image_.start);
  const bool starts_from_it = start != nullptr && start->picture.equal(inpainting.picture);
  at::Tensor sample;
  if (start != nullptr || !takes_mask_) sample = DrawSample();
  const at::Tensor noise = source_.Draw(image_.shape.sizes());
  const at::Tensor masked_sample = DrawSample();
  source_.PutBack(noise);

  if (start != nullptr) start->picture = Encode(start->picture, sample).to(at::kCPU);
  const at::Tensor mask = inpainting.mask.ge(0.5).to(at::kFloat);
  const at::Tensor reduced = ReduceMask(mask, codec_->spec().factor);
  if (takes_mask_) {
    const at::Tensor masked = inpainting.picture * (1 - mask);
    return SetConditionChannels(
        at::cat({UploadCopy(reduced, runtime_), Encode(masked, masked_sample)}));
  }
  const at::Tensor known =
      starts_from_it ? start->picture : Encode(inpainting.picture, sample).to(at::kCPU);
  image_.inpainting = Inpainting{.picture = known, .mask = reduced, .fresh_noise = plan_.jumps > 0};
}

void LatentStart::SetConditionChannels(const at::Tensor& channels) {
  for (WeightedCondition& entry : conditioning_.conditions) {
    entry.condition = WithChannels(entry.condition, channels);
  }
  conditioning_.unconditional = WithChannels(conditioning_.unconditional, channels);
}

}  // namespace

std::vector<SharedCondition> UnencodedConditions(const Conditioning& conditioning) {
  std::vector<SharedCondition> conditions;
  for (const WeightedCondition& entry : conditioning.conditions) {
    if (IsUnencoded(entry.condition)) conditions.push_back(entry.condition);
  }
  if (IsUnencoded(conditioning.unconditional)) conditions.push_back(conditioning.unconditional);
  return conditions;
}

EncodedConditions EncodePrompts(const std::vector<SharedCondition>& conditions,
                                const Pipeline& pipeline) {
  if (conditions.empty()) return {};
  DENOISE_DCHECK(pipeline.prompts != nullptr);
  const std::vector<SharedCondition> encoded = pipeline.prompts->Encode(conditions);
  EncodedConditions encodings;
  for (size_t i = 0; i < conditions.size(); ++i) encodings[conditions[i]] = encoded[i];
  return encodings;
}

Conditioning EncodeConditioning(Conditioning conditioning, const Pipeline& pipeline,
                                const EncodedConditions& encoded) {
  std::vector<SharedCondition> missing = UnencodedConditions(conditioning);
  std::erase_if(missing, [&](const SharedCondition& one) { return encoded.contains(one); });
  const EncodedConditions now = EncodePrompts(missing, pipeline);
  const auto replace = [&](SharedCondition& condition) {
    if (!IsUnencoded(condition)) return;
    const auto found = encoded.find(condition);
    condition = found != encoded.end() ? found->second : now.at(condition);
  };
  for (WeightedCondition& entry : conditioning.conditions) replace(entry.condition);
  replace(conditioning.unconditional);
  return conditioning;
}

Trajectory BeginTrajectory(std::shared_ptr<const SamplerPlan> plan, Conditioning conditioning,
                           ImageStart image, const Pipeline& pipeline, DeviceRuntime& runtime) {
  NoiseSource source(image.seed);
  if (!pipeline.codec->spec().is_identity) {
    LatentStart(*plan, pipeline, runtime, image, conditioning, source).Prepare();
  }
  return Trajectory(std::move(plan), std::move(conditioning), std::move(source), image.shape,
                    runtime, image.start, std::move(image.inpainting));
}

}  // namespace denoise
