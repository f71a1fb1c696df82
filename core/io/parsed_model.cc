#include "core/io/parsed_model.h"

#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/io/model_folder.h"
#include "core/io/model_index.h"
#include "core/io/scheduler_of_index.h"
#include "core/io/weights.h"
#include "core/nn/unet2d.h"

namespace denoise {
namespace {

constexpr char kUnet[] = "unet";

constexpr size_t kMaxConfigBytes = size_t{1} << 20;

absl::Status CheckChannels(const UNet2DConfig& unet, const SamplerOptions& sampler) {
  const VarianceType variance = sampler.variance_type;
  const bool learned =
      variance == VarianceType::kLearned || variance == VarianceType::kLearnedRange;
  const bool doubled = unet.out_channels == 2 * unet.in_channels;
  if (!doubled && unet.out_channels != unet.in_channels) {
    return InvalidField(
        "out_channels",
        absl::StrCat("must be in_channels, ", unet.in_channels,
                     ", or twice as many where the variance is learned; is ", unet.out_channels));
  }
  if (learned && !doubled) {
    return InvalidField("out_channels",
                        "must be twice in_channels, as the scheduler's variance is learned");
  }
  // Samplers that have no choice of variance read the first half only.
  if (doubled && !learned && sampler.sampler == SamplerKind::kDdpm) {
    return InvalidField("out_channels",
                        "is twice in_channels, but the scheduler's variance is not learned");
  }
  return absl::OkStatus();
}

absl::Status CheckTimesteps(const UNet2DConfig& unet, const Schedule& schedule) {
  if (unet.time_embedding_type == TimeEmbeddingType::kFourier && schedule.timestep_min() <= 0) {
    return InvalidField(
        "time_embedding_type",
        "fourier takes the logarithm of timesteps, but this schedule has some at or below 0");
  }
  if (unet.num_train_timesteps == 0 || schedule.num_train_timesteps() <= unet.num_train_timesteps) {
    return absl::OkStatus();
  }
  return InvalidField(
      "num_train_timesteps",
      absl::StrCat("the network has ", unet.num_train_timesteps,
                   " timesteps, but the schedule has ", schedule.num_train_timesteps()));
}

std::string Source(const ModelIndex& index) {
  std::string source = absl::StrCat(index.pipeline, " / ", index.unet_class);
  if (!index.library_version.empty())
    absl::StrAppend(&source, ", diffusers ", index.library_version);
  return source;
}

std::vector<std::string> IgnoredKeys(const ModelIndex& index, const UNet2DConfig& unet,
                                     const SchedulerConfig& scheduler,
                                     const ModelFileNames& names) {
  std::vector<std::string> lines;
  for (const auto& [file, keys] : {std::pair{&names.model_index, &index.ignored_keys},
                                   {&names.unet_config, &unet.ignored_keys},
                                   {&names.scheduler_config, &scheduler.ignored_keys}}) {
    if (!keys->empty()) lines.push_back(absl::StrCat(*file, ": ", absl::StrJoin(*keys, ", ")));
  }
  return lines;
}

// `parsed`, with the file in its error.
template <typename Value>
absl::StatusOr<Value> Named(const std::string& file, absl::StatusOr<Value> parsed) {
  if (!parsed.ok()) return InFile(file, parsed.status());
  return parsed;
}

// Checks that the files, each valid by itself, fit together.
absl::Status CheckConsistency(const ModelIndex& index, const UNet2DConfig& unet,
                              const SchedulerConfig& scheduler, const Schedule& schedule,
                              const ModelFileNames& names) {
  RETURN_IF_ERROR(InFile(names.model_index, CheckLabels(index, unet.num_class_embeds)));
  RETURN_IF_ERROR(InFile(names.unet_config, CheckTimesteps(unet, schedule)));
  return InFile(names.unet_config, CheckChannels(unet, scheduler.sampler));
}

absl::StatusOr<ModelDescription> Describe(const ModelTexts& texts, const ModelFileNames& names) {
  ASSIGN_OR_RETURN(ModelIndex index, Named(names.model_index, ParseModelIndex(texts.model_index)));
  ASSIGN_OR_RETURN(UNet2DConfig unet,
                   Named(names.unet_config, ParseUNet2DConfig(texts.unet_config)));
  ASSIGN_OR_RETURN(SchedulerConfig scheduler,
                   ParseSchedulerOfIndex(index.scheduler_class, names.model_index,
                                         texts.scheduler_config, names.scheduler_config));
  SetImageSize(unet.height, unet.width, scheduler);
  ASSIGN_OR_RETURN(Schedule schedule,
                   Named(names.scheduler_config, Schedule::Create(scheduler.schedule)));
  RETURN_IF_ERROR(CheckConsistency(index, unet, scheduler, schedule, names));
  std::vector<std::string> ignored_keys = IgnoredKeys(index, unet, scheduler, names);
  return ModelDescription{.unet = std::move(unet),
                          .scheduler = std::move(scheduler),
                          .schedule = std::move(schedule),
                          .id2label = std::move(index.id2label),
                          .null_class_label = index.null_class_label,
                          .source = Source(index),
                          .ignored_keys = std::move(ignored_keys)};
}

// Components have folders of their own or, in the oldest checkpoints, are in the root.
std::string ComponentPrefix(const ModelFolder& folder, const std::string& component) {
  return folder.HasFolder(component) ? component + "/" : "";
}

absl::StatusOr<ModelTexts> ReadTexts(const ModelFolder& folder, const ModelFileNames& names) {
  ModelTexts texts;
  for (const auto& [text, name] : {std::pair{&texts.model_index, names.model_index},
                                   {&texts.unet_config, names.unet_config},
                                   {&texts.scheduler_config, names.scheduler_config}}) {
    ASSIGN_OR_RETURN(*text, folder.ReadText(name, kMaxConfigBytes));
  }
  return texts;
}

}  // namespace

ParsedModel::ParsedModel(ModelTexts texts, ModelFileNames names, ModelDescription description)
    : texts_(std::move(texts)),
      names_(std::move(names)),
      description_(std::move(description)),
      weights_(std::make_shared<Weights>()) {}

absl::StatusOr<ParsedModel> ParsedModel::Parse(ModelTexts texts, const ModelFileNames& names) {
  ASSIGN_OR_RETURN(ModelDescription description, Describe(texts, names));
  return ParsedModel(std::move(texts), names, std::move(description));
}

absl::StatusOr<ParsedModel> ParsedModel::OpenConfigs(const std::filesystem::path& path) {
  return WithoutExceptions([&]() -> absl::StatusOr<ParsedModel> {
    ASSIGN_OR_RETURN(const ModelFolder folder, ModelFolder::Open(path));
    const ModelFileNames names = {
        .unet_config = ComponentPrefix(folder, kUnet) + "config.json",
        .scheduler_config = ComponentPrefix(folder, "scheduler") + "scheduler_config.json"};
    ASSIGN_OR_RETURN(ModelTexts texts, ReadTexts(folder, names));
    return Parse(std::move(texts), names);
  });
}

absl::StatusOr<ParsedModel> ParsedModel::Open(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(ParsedModel model, OpenConfigs(path));
  return WithoutExceptions([&]() -> absl::StatusOr<ParsedModel> {
    ASSIGN_OR_RETURN(const ModelFolder folder, ModelFolder::Open(path));
    ASSIGN_OR_RETURN(Weights weights,
                     OpenWeights(folder, ComponentPrefix(folder, kUnet), "diffusion_pytorch_model",
                                 MaxWeightsBytes(CountUNet2DParameters(model.description().unet))));
    model.weights_ = std::make_shared<Weights>(std::move(weights));
    return std::move(model);
  });
}

absl::StatusOr<StateDict> ParsedModel::LoadWeights() const {
  return WithoutExceptions([&]() -> absl::StatusOr<StateDict> {
    return Named(weights_->file, CanonicalUNet2DWeights(description_.unet, weights_->tensors));
  });
}

void ParsedModel::SetWeights(StateDict weights) {
  weights_ = std::make_shared<Weights>(Weights{.tensors = Stored(weights)});
}

}  // namespace denoise
