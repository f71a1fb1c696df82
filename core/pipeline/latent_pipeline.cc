#include "core/pipeline/latent_pipeline.h"

#include <c10/core/InferenceMode.h>

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/base/field_violations.h"
#include "core/base/quoted.h"
#include "core/base/sha256.h"
#include "core/base/status_macros.h"
#include "core/codec/create_codec.h"
#include "core/diffusion/device_errors.h"
#include "core/io/model_folder.h"
#include "core/io/weights.h"
#include "core/nn/unet2d.h"
#include "core/nn/unet2d_condition.h"
#include "core/pipeline/clip_prompts.h"
#include "core/pipeline/latent_configs.h"
#include "core/pipeline/latent_description.h"
#include "core/pipeline/single_file.h"

namespace denoise {
namespace {

constexpr size_t kVersionDigits = 32;  // 128 bits

constexpr char kDiffusersStem[] = "diffusion_pytorch_model";
constexpr char kTransformersStem[] = "model";

class LatentParts final : public PipelineParts {
 public:
  LatentParts(const LatentFamily& family, LatentConfigs configs, PipelineDescription description)
      : family_(family), configs_(std::move(configs)), description_(std::move(description)) {}

  const PipelineDescription& description() const override { return description_; }
  absl::StatusOr<std::string> Version() const override {
    return WithoutExceptions([&] { return HashParts(); });
  }
  absl::StatusOr<Pipeline> Load(const PipelineOptions& options) const override {
    return CatchDeviceErrors([&] { return LoadParts(options); });
  }

  std::map<std::string, std::string> Texts() const override { return configs_.files; }
  const Weights* FindWeights(const std::string& part) const override {
    const auto found = weights_.find(part);
    return found == weights_.end() ? nullptr : &found->second;
  }

  absl::Status ReadWeights(const ModelFolder& folder);
  absl::Status ReadWeights(const SingleFileWeights& source);

 private:
  absl::StatusOr<Pipeline> LoadParts(const PipelineOptions& options) const;
  absl::StatusOr<std::shared_ptr<const Network>> LoadNetwork(const PipelineOptions& options) const;
  absl::StatusOr<std::shared_ptr<const Codec>> LoadCodec(const PipelineOptions& options) const;
  absl::StatusOr<std::shared_ptr<const PromptEncoder>> LoadPrompts(
      const PipelineOptions& options) const;
  absl::StatusOr<std::string> HashParts() const;

  int64_t NetworkParameters() const { return description_.network.num_parameters; }

  const LatentFamily& family_;
  const LatentConfigs configs_;
  const PipelineDescription description_;
  std::map<std::string, Weights> weights_;  // by component
};

// Encodes and decodes on the way, and so shows whether the codec works.
absl::StatusOr<LatentProjection> FitPreview(const Codec& codec) {
  const c10::InferenceMode inference;
  LatentProjection preview = FitLatentProjection(codec, ProbeOptions());
  if (preview.weight().isfinite().all().item<bool>() &&
      preview.bias().isfinite().all().item<bool>()) {
    return preview;
  }
  return absl::InvalidArgumentError("the codec's output is not finite");
}

absl::Status CheckTextStates(const PromptEncoder& prompts, std::shared_ptr<const Prompt> prompt) {
  const c10::InferenceMode inference;
  const SharedCondition told = prompts.Encode(
      {std::make_shared<const Condition>(Condition{.prompt = std::move(prompt)})})[0];
  if (told->text_states.isfinite().all().item<bool>() &&
      (!told->pooled_text.defined() || told->pooled_text.isfinite().all().item<bool>())) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("the output of the text encoders is not finite");
}

absl::Status LatentParts::ReadWeights(const ModelFolder& folder) {
  const auto read = [&](const std::string& component, const char* stem,
                        int64_t parameters) -> absl::Status {
    ASSIGN_OR_RETURN(weights_[component],
                     OpenWeights(folder, component + "/", stem, MaxWeightsBytes(parameters)));
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(read(kUnet, kDiffusersStem, NetworkParameters()));
  RETURN_IF_ERROR(
      read(std::string(family_.codec), kDiffusersStem, CountCodecParameters(configs_.codec)));
  for (const TextPart& part : configs_.texts) {
    RETURN_IF_ERROR(read(part.encoder, kTransformersStem, CountClipTextParameters(part.config)));
  }
  return absl::OkStatus();
}

absl::Status LatentParts::ReadWeights(const SingleFileWeights& source) {
  const std::string name = Escaped(source.file.filename().string());
  const auto read = [&]() -> absl::StatusOr<std::map<std::string, Weights>> {
    ASSIGN_OR_RETURN(
        const SafetensorsFile file,
        SafetensorsFile::Open(source.file, MaxWeightsBytes(description_.num_parameters)));
    ASSIGN_OR_RETURN(SingleFileLayout layout, ReadSingleFileLayout(file.header()));
    SingleFileConfigs configs{.pipeline = configs_.index.pipeline};
    if (const auto* unet = std::get_if<UNet2DConditionConfig>(&configs_.network)) {
      configs.unet_channels = unet->in_channels;
    }
    for (const TextPart& part : configs_.texts) {
      configs.texts.push_back({part.encoder, part.config.num_hidden_layers,
                               part.config.with_projection.value_or(false)});
    }
    return LoadSingleFile(file, std::move(layout), configs, name);
  };
  ASSIGN_OR_RETURN(weights_, InFile(name, read()));
  return absl::OkStatus();
}

absl::StatusOr<std::string> LatentParts::HashParts() const {
  Sha256 hash;
  for (const auto& [name, text] : configs_.files) hash.AddPart(name, text);
  for (const auto& [component, weights] : weights_) {
    for (const auto& [name, file] : weights.files) {
      RETURN_IF_ERROR(InFile(name, file.AddTo(hash, name)));
    }
  }
  return hash.Finish().substr(0, kVersionDigits);
}

absl::StatusOr<Pipeline> LatentParts::LoadParts(const PipelineOptions& options) const {
  Pipeline pipeline;
  ASSIGN_OR_RETURN(pipeline.network, LoadNetwork(options));
  ASSIGN_OR_RETURN(pipeline.codec, LoadCodec(options));
  ASSIGN_OR_RETURN(LatentProjection preview, FitPreview(*pipeline.codec));
  pipeline.preview = std::make_shared<const LatentProjection>(std::move(preview));
  ASSIGN_OR_RETURN(pipeline.prompts, LoadPrompts(options));
  return pipeline;
}

absl::StatusOr<std::shared_ptr<const PromptEncoder>> LatentParts::LoadPrompts(
    const PipelineOptions& options) const {
  if (configs_.texts.empty()) return nullptr;
  Placement placement = options.placement;
  if (options.text_encoders_on_cpu && !placement.device.is_cpu()) {
    placement = {.device = at::kCPU, .dtype = TextDtypeOnCpu(placement.dtype)};
  }
  std::vector<std::shared_ptr<const ClipTextEncoder>> encoders;
  for (const TextPart& part : configs_.texts) {
    const Weights& weights = weights_.at(part.encoder);
    ASSIGN_OR_RETURN(
        auto encoder,
        InFile(weights.file, ClipTextEncoder::Create(part.config, weights.tensors, placement)));
    encoders.push_back(std::move(encoder));
  }
  auto prompts = ClipPrompts(std::move(encoders), family_.states, options.placement);
  RETURN_IF_ERROR(CheckTextStates(*prompts, description_.prompts->Empty()));
  return prompts;
}

absl::StatusOr<std::shared_ptr<const Network>> LatentParts::LoadNetwork(
    const PipelineOptions& options) const {
  const Weights& weights = weights_.at(kUnet);
  if (const auto* unet = std::get_if<UNet2DConfig>(&configs_.network)) {
    return InFile(weights.file,
                  CreateUNet2D(*unet, weights.tensors, {.batch_invariant = options.batch_invariant},
                               options.placement));
  }
  UNet2DConditionOptions network = configs_.options;
  network.batch_invariant = options.batch_invariant;
  return InFile(weights.file,
                CreateUNet2DCondition(std::get<UNet2DConditionConfig>(configs_.network),
                                      weights.tensors, network, options.placement));
}

absl::StatusOr<std::shared_ptr<const Codec>> LatentParts::LoadCodec(
    const PipelineOptions& options) const {
  const Weights& weights = weights_.at(std::string(family_.codec));
  return InFile(weights.file, CreateCodec(configs_.codec, weights.tensors,
                                          {.batch_invariant = options.batch_invariant,
                                           .use_statistics = family_.codec_statistics},
                                          options.placement));
}

}  // namespace

absl::StatusOr<std::shared_ptr<const PipelineParts>> OpenLatentParts(
    const std::filesystem::path& path, const LatentFamily& family, const WeightsSource& source) {
  ASSIGN_OR_RETURN(const ModelFolder folder, ModelFolder::Open(path));
  ASSIGN_OR_RETURN(LatentConfigs configs, ReadLatentConfigs(folder, family));
  ASSIGN_OR_RETURN(PipelineDescription description, DescribeLatentModel(configs, family));
  auto parts = std::make_shared<LatentParts>(family, std::move(configs), std::move(description));
  if (std::holds_alternative<FolderWeights>(source)) RETURN_IF_ERROR(parts->ReadWeights(folder));
  if (const auto* single = std::get_if<SingleFileWeights>(&source)) {
    RETURN_IF_ERROR(parts->ReadWeights(*single));
  }
  return parts;
}

}  // namespace denoise
