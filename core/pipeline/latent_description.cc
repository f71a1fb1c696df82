#include "core/pipeline/latent_description.h"

#include <algorithm>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/codec/create_codec.h"
#include "core/nn/unet2d.h"

namespace denoise {
namespace {

absl::StatusOr<NetworkSpec> SpecOf(const LatentConfigs& configs) {
  if (const auto* unet = std::get_if<UNet2DConfig>(&configs.network)) return NetworkSpecOf(*unet);
  const auto& unet = std::get<UNet2DConditionConfig>(configs.network);
  ASSIGN_OR_RETURN(NetworkSpec spec, NetworkSpecOf(unet, configs.options));
  spec.num_parameters = CountUNet2DConditionParameters(unet);
  return spec;
}

// Checks that the parts, each valid by itself, fit together.
absl::Status CheckConsistency(const NetworkSpec& network, const CodecSpec& codec,
                              const std::vector<TextPart>& texts) {
  if (network.sample.channels != codec.latent_channels) {
    return InvalidField(
        "in_channels",
        absl::StrCat("the network denoises ", network.sample.channels,
                     " channels, but the codec's latents have ", codec.latent_channels));
  }
  if (network.condition_channels != 0 && network.condition_channels != codec.latent_channels + 1) {
    return InvalidField("in_channels",
                        absl::StrCat("must be ", codec.latent_channels, ", or ",
                                     2 * codec.latent_channels + 1, " where the network inpaints"));
  }
  if (network.num_time_ids != 0 && network.num_time_ids != 5 && network.num_time_ids != 6) {
    return InvalidField("projection_class_embeddings_input_dim",
                        "must leave 6 numbers beside the pooled text, or 5 for a refiner");
  }
  if (!texts.empty() && network.num_class_embeds > 0) {
    return InvalidField("num_class_embeds", "must be null: models that read text have no classes");
  }
  for (const TextPart& part : texts) {
    if (part.tokens->max_length() == texts.front().tokens->max_length()) continue;
    return InvalidField(
        "model_max_length",
        absl::StrCat("of ", part.tokenizer, " is ", part.tokens->max_length(), ", but that of ",
                     texts.front().tokenizer, " is ", texts.front().tokens->max_length()));
  }
  int64_t text_width = 0;
  for (const TextPart& part : texts) text_width += part.config.hidden_size;
  if (network.text_width != text_width) {
    return InvalidField("cross_attention_dim",
                        absl::StrCat("is ", network.text_width, ", but the text encoders' states ",
                                     "have ", text_width, " numbers"));
  }
  if (network.pooled_text_width > 0 && network.pooled_text_width != texts.back().pooled_width()) {
    return InvalidField(
        "projection_class_embeddings_input_dim",
        absl::StrCat("leaves ", network.pooled_text_width, " for the pooled text, which has ",
                     texts.back().pooled_width()));
  }
  return absl::OkStatus();
}

std::vector<std::string> IgnoredKeysOf(const LatentConfigs& configs, const LatentFamily& family,
                                       const SchedulerConfig& scheduler) {
  std::vector<std::string> lines;
  const auto add = [&](const std::string& file, const std::vector<std::string>& keys) {
    if (!keys.empty()) lines.push_back(absl::StrCat(file, ": ", absl::StrJoin(keys, ", ")));
  };
  std::visit([&](const auto& unet) { add(kUnetConfigFile, unet.ignored_keys); }, configs.network);
  add(std::string(family.codec) + "/config.json", IgnoredKeys(configs.codec));
  for (const TextPart& part : configs.texts) {
    add(part.encoder + "/config.json", part.config.ignored_keys);
  }
  add(kSchedulerConfigFile, scheduler.ignored_keys);
  return lines;
}

std::shared_ptr<const PromptReader> MakePromptReader(const PipelineIndex& index,
                                                     const std::vector<TextPart>& texts) {
  if (texts.empty()) return nullptr;
  std::vector<std::shared_ptr<const ClipTokenizer>> tokenizers;
  int64_t layers = texts.front().config.num_hidden_layers;
  for (const TextPart& part : texts) {
    tokenizers.push_back(part.tokens);
    layers = std::min(layers, part.config.num_hidden_layers);
  }
  const auto zeros = index.switches.find("force_zeros_for_empty_prompt");
  return std::make_shared<const PromptReader>(std::move(tokenizers),
                                              zeros != index.switches.end() && zeros->second,
                                              std::max<int64_t>(layers - 2, 0));
}

std::vector<PartDescription> PartsOf(const LatentConfigs& configs, const LatentFamily& family,
                                     const NetworkSpec& network) {
  const auto class_of = [&](const std::string& part) { return configs.index.components.at(part); };
  const std::string codec(family.codec);
  std::vector<PartDescription> parts = {
      {.name = kUnet, .class_name = class_of(kUnet), .num_parameters = network.num_parameters},
      {.name = codec,
       .class_name = class_of(codec),
       .num_parameters = CountCodecParameters(configs.codec),
       .overflows_in_half = CodecDtype(configs.codec, at::kHalf) != at::kHalf}};
  for (const TextPart& part : configs.texts) {
    parts.push_back({.name = part.encoder,
                     .class_name = class_of(part.encoder),
                     .num_parameters = CountClipTextParameters(part.config),
                     .encodes_text = true});
  }
  return parts;
}

// The layers of the network and of the text encoders; null where the network reads no text.
std::shared_ptr<const AdapterTarget> MakeAdapterTarget(const LatentConfigs& configs) {
  const auto* unet = std::get_if<UNet2DConditionConfig>(&configs.network);
  if (unet == nullptr) return nullptr;
  AdapterTarget target{.network = UNet2DConditionLayers(*unet)};
  for (const TextPart& part : configs.texts) {
    target.texts.push_back({part.encoder, ClipTextLayers(part.config)});
  }
  target.signature = SignatureOf(target);
  return std::make_shared<const AdapterTarget>(std::move(target));
}

}  // namespace

absl::StatusOr<PipelineDescription> DescribeLatentModel(const LatentConfigs& configs,
                                                        const LatentFamily& family) {
  SchedulerConfig scheduler = configs.scheduler;
  ASSIGN_OR_RETURN(const NetworkSpec network, InFile(kUnetConfigFile, SpecOf(configs)));
  const CodecSpec codec = CodecSpecOf(configs.codec);
  RETURN_IF_ERROR(InFile(kUnetConfigFile, CheckConsistency(network, codec, configs.texts)));
  SetImageSize(network.sample.height, network.sample.width, scheduler);
  ASSIGN_OR_RETURN(Schedule schedule,
                   InFile(kSchedulerConfigFile, Schedule::Create(scheduler.schedule)));
  PipelineDescription description{
      .source = absl::StrCat(configs.index.pipeline, " / ", configs.index.components.at(kUnet)),
      .network = network,
      .codec = codec,
      .scheduler = std::move(scheduler),
      .schedule = std::move(schedule),
      .prompts = MakePromptReader(configs.index, configs.texts),
      .guidance_scale = family.guidance_scale,
      .parts = PartsOf(configs, family, network),
      .adapters = MakeAdapterTarget(configs)};
  if (!configs.index.library_version.empty()) {
    absl::StrAppend(&description.source, ", diffusers ", configs.index.library_version);
  }
  for (const PartDescription& part : description.parts) {
    description.num_parameters += part.num_parameters;
  }
  for (const std::string_view part : kUnusedComponents) {
    if (configs.index.components.contains(std::string(part))) {
      description.ignored_parts.emplace_back(part);
    }
  }
  description.ignored_keys = IgnoredKeysOf(configs, family, description.scheduler);
  return description;
}

}  // namespace denoise
