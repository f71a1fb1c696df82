#include "core/io/model_description.h"

#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/io/model_folder.h"
#include "core/io/model_index.h"
#include "core/sampling/schedules/schedule.h"

namespace denoise {
namespace {

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
  if (unet.time_embedding_type == TimeEmbeddingType::kFourier && schedule.timestep_min() < 0) {
    return InvalidField(
        "time_embedding_type",
        "fourier takes the logarithm of timesteps, which this schedule has below 0");
  }
  if (unet.num_train_timesteps == 0 || schedule.num_train_timesteps() <= unet.num_train_timesteps) {
    return absl::OkStatus();
  }
  return InvalidField(
      "num_train_timesteps",
      absl::StrCat("the network knows ", unet.num_train_timesteps, " timesteps, the schedule has ",
                   schedule.num_train_timesteps()));
}

std::string Source(const ModelIndex& index) {
  std::string source = absl::StrCat(index.pipeline, " / ", index.unet_class);
  if (!index.library_version.empty())
    absl::StrAppend(&source, ", diffusers ", index.library_version);
  return source;
}

// `parsed`, with the file in its error.
template <typename Value>
absl::StatusOr<Value> Named(const std::string& file, absl::StatusOr<Value> parsed) {
  if (!parsed.ok()) return InFile(file, parsed.status());
  return parsed;
}

// Each file is well-formed; do they fit one another?
absl::Status CheckConsistency(const ModelIndex& index, const UNet2DConfig& unet,
                              const SchedulerConfig& scheduler, const ModelFileNames& names) {
  // A class that differs from the index would mean one thing to us and another to others.
  if (scheduler.class_name != index.scheduler_class) {
    return InFile(names.scheduler_config,
                  InvalidField("_class_name", absl::StrCat("is not ", index.scheduler_class,
                                                           ", as ", names.model_index, " has it")));
  }
  RETURN_IF_ERROR(InFile(names.model_index, CheckLabels(index, unet.num_class_embeds)));
  ASSIGN_OR_RETURN(const Schedule schedule,
                   Named(names.scheduler_config, Schedule::Create(scheduler.schedule)));
  RETURN_IF_ERROR(InFile(names.unet_config, CheckTimesteps(unet, schedule)));
  return InFile(names.unet_config, CheckChannels(unet, scheduler.sampler));
}

}  // namespace

absl::StatusOr<ModelDescription> DescribeModel(const ModelFiles& files,
                                               const ModelFileNames& names) {
  ASSIGN_OR_RETURN(ModelIndex index, Named(names.model_index, ParseModelIndex(files.model_index)));
  ASSIGN_OR_RETURN(UNet2DConfig unet,
                   Named(names.unet_config, ParseUNet2DConfig(files.unet_config)));
  ASSIGN_OR_RETURN(SchedulerConfig scheduler,
                   Named(names.scheduler_config, ParseSchedulerConfig(files.scheduler_config)));
  SetImageSize(unet.height, unet.width, scheduler);
  RETURN_IF_ERROR(CheckConsistency(index, unet, scheduler, names));
  return ModelDescription{.unet = std::move(unet),
                          .scheduler = std::move(scheduler),
                          .id2label = std::move(index.id2label),
                          .null_class_label = index.null_class_label,
                          .source = Source(index)};
}

}  // namespace denoise
