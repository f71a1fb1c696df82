#include "core/io/checkpoint.h"

#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/sha256.h"
#include "core/base/status_macros.h"
#include "core/io/model_folder.h"
#include "core/io/model_index.h"
#include "core/io/weights.h"
#include "core/nn/unet2d_config.h"
#include "core/sampling/schedule.h"

namespace denoise {
namespace {

constexpr char kIndexFile[] = "model_index.json";
constexpr size_t kMaxConfigBytes = size_t{1} << 20;
constexpr size_t kVersionDigits = 32;  // 128 bits

// What the files beside the weights say.
struct Description {
  ModelIndex index;
  UNet2DConfig unet;
  SchedulerConfig scheduler;
  std::string unet_prefix;  // "unet/", or empty in the root
  std::string unet_file;
  std::string scheduler_file;
};

// Components lie in folders of their own or, as in the oldest checkpoints, in the root.
std::string ComponentPrefix(const ModelFolder& folder, const std::string& component) {
  return folder.HasFolder(component) ? component + "/" : "";
}

// A class that differs from the index would mean one thing to us and another to others.
absl::StatusOr<SchedulerConfig> ParseScheduler(std::string_view text,
                                               const std::string& indexed_class) {
  ASSIGN_OR_RETURN(SchedulerConfig config, ParseSchedulerConfig(text));
  if (config.class_name == indexed_class) return config;
  return InvalidField("_class_name",
                      absl::StrCat("is not ", indexed_class, ", as ", kIndexFile, " has it"));
}

// Reads and parses one configuration file.
template <typename Parse>
auto ReadConfig(const ModelFolder& folder, const std::string& file, Sha256& hash, Parse parse)
    -> decltype(parse(std::string_view())) {
  ASSIGN_OR_RETURN(const std::string text, folder.ReadText(file, kMaxConfigBytes));
  hash.AddPart(file, text);
  auto config = parse(std::string_view(text));
  if (!config.ok()) return InFile(file, config.status());
  return config;
}

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

// Each file is well-formed; do they fit one another?
absl::Status CheckConsistency(const Description& description) {
  RETURN_IF_ERROR(
      InFile(kIndexFile, CheckLabels(description.index, description.unet.num_class_embeds)));
  const absl::StatusOr<Schedule> schedule = Schedule::Create(description.scheduler.schedule);
  RETURN_IF_ERROR(InFile(description.scheduler_file, schedule.status()));
  RETURN_IF_ERROR(InFile(description.unet_file, CheckTimesteps(description.unet, *schedule)));
  return InFile(description.unet_file,
                CheckChannels(description.unet, description.scheduler.sampler));
}

absl::StatusOr<Description> Describe(const ModelFolder& folder, Sha256& hash) {
  Description result;
  ASSIGN_OR_RETURN(result.index, ReadConfig(folder, kIndexFile, hash, ParseModelIndex));
  result.unet_prefix = ComponentPrefix(folder, "unet");
  result.unet_file = result.unet_prefix + "config.json";
  result.scheduler_file = ComponentPrefix(folder, "scheduler") + "scheduler_config.json";
  const auto parse_scheduler = [&](std::string_view text) {
    return ParseScheduler(text, result.index.scheduler_class);
  };
  ASSIGN_OR_RETURN(result.unet, ReadConfig(folder, result.unet_file, hash, ParseUNet2DConfig));
  ASSIGN_OR_RETURN(result.scheduler,
                   ReadConfig(folder, result.scheduler_file, hash, parse_scheduler));
  SetImageSize(result.unet.height, result.unet.width, result.scheduler);
  RETURN_IF_ERROR(CheckConsistency(result));
  return result;
}

std::string Source(const ModelIndex& index) {
  std::string source = absl::StrCat(index.pipeline, " / ", index.unet_class);
  if (!index.library_version.empty())
    absl::StrAppend(&source, ", diffusers ", index.library_version);
  return source;
}

absl::StatusOr<Checkpoint> Load(const std::filesystem::path& path, const UNet2DOptions& options) {
  ASSIGN_OR_RETURN(const ModelFolder folder, ModelFolder::Open(path));
  Sha256 hash;
  ASSIGN_OR_RETURN(Description description, Describe(folder, hash));
  ASSIGN_OR_RETURN(const Weights weights, LoadWeights(folder, description.unet_prefix));
  // The network copies what it needs: nothing refers to the mapped files afterwards.
  absl::StatusOr<std::shared_ptr<const Network>> network =
      CreateUNet2D(description.unet, weights.tensors, options);
  if (!network.ok()) return InFile(weights.file, network.status());
  // Last: only now it is known that every byte of the files has its place in the network.
  for (const auto& [name, file] : weights.files) hash.AddPart(name, file.bytes());
  return Checkpoint{
      .network = *std::move(network),
      .scheduler = std::move(description.scheduler),
      .id2label = std::move(description.index.id2label),
      .null_class_label = description.index.null_class_label,
      .source = Source(description.index),
      .version = hash.Finish().substr(0, kVersionDigits),
  };
}

}  // namespace

absl::StatusOr<Checkpoint> LoadCheckpoint(const std::filesystem::path& folder,
                                          const UNet2DOptions& options) {
  try {
    return Load(folder, options);
  } catch (const std::exception&) {  // their texts may hold paths and stacks
    return absl::ResourceExhaustedError(
        "a library failed to load the checkpoint, most likely for want of memory");
  }
}

}  // namespace denoise
