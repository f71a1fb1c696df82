#include "core/pipeline/parsed_pipeline.h"

#include <c10/core/ScalarType.h>

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/field_violations.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "core/io/model_folder.h"
#include "core/pipeline/latent_configs.h"
#include "core/pipeline/latent_family.h"
#include "core/pipeline/latent_pipeline.h"
#include "core/pipeline/pipeline_index.h"
#include "core/pipeline/pixel_pipeline.h"

namespace denoise {
namespace {

// Whether the model works on pixels. People give such pipelines names of their own; what they have
// in common is the network.
bool IsPixelPipeline(const PipelineIndex& index) {
  constexpr std::string_view kPipelines[] = {"DDPMPipeline", "DDIMPipeline"};
  if (std::find(std::begin(kPipelines), std::end(kPipelines), index.pipeline) !=
      std::end(kPipelines)) {
    return true;
  }
  const auto unet = index.components.find(kUnet);
  return unet != index.components.end() && unet->second == "UNet2DModel";
}

absl::Status NotSupported(const PipelineIndex& index) {
  const std::vector<std::string_view> latent = LatentPipelines();
  return InvalidField(
      "_class_name",
      absl::StrCat("the pipeline ", Quoted(index.pipeline),
                   " is not supported; these are: DDPMPipeline and others of a "
                   "UNet2DModel, ",
                   absl::StrJoin(std::vector<std::string>(latent.begin(), latent.end()), ", ")));
}

// The family of the folder; null where it is a model that works on pixels, or has no index.
absl::StatusOr<const LatentFamily*> FamilyOf(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const ModelFolder folder, ModelFolder::Open(path));
  if (!folder.HasFile(kModelIndexFile)) return nullptr;
  ASSIGN_OR_RETURN(const std::string text,
                   folder.ReadText(kModelIndexFile, kMaxPipelineConfigBytes));
  ASSIGN_OR_RETURN(const PipelineIndex index, InFile(kModelIndexFile, ParsePipelineIndex(text)));
  const LatentFamily* family = FindLatentFamily(index.pipeline);
  if (family != nullptr || IsPixelPipeline(index)) return family;
  return InFile(kModelIndexFile, NotSupported(index));
}

absl::StatusOr<std::shared_ptr<const PipelineParts>> OpenParts(const std::filesystem::path& path,
                                                               bool with_weights) {
  ASSIGN_OR_RETURN(const LatentFamily* family, FamilyOf(path));
  if (family != nullptr) {
    return OpenLatentParts(path, *family,
                           with_weights ? WeightsSource(FolderWeights()) : NoWeights());
  }
  ASSIGN_OR_RETURN(ParsedModel model,
                   with_weights ? ParsedModel::Open(path) : ParsedModel::OpenConfigs(path));
  return PixelParts(std::move(model));
}

absl::StatusOr<std::shared_ptr<const PipelineParts>> OpenSingleParts(
    const std::filesystem::path& file, const std::filesystem::path& configs) {
  ASSIGN_OR_RETURN(const LatentFamily* family, FamilyOf(configs));
  if (family == nullptr) {
    return absl::InvalidArgumentError(
        "the folder of configurations is not that of a latent model: its model_index.json must "
        "name a pipeline such as StableDiffusionPipeline");
  }
  return OpenLatentParts(configs, *family, SingleFileWeights{file});
}

}  // namespace

int64_t PartDescription::MemoryBytes(at::ScalarType dtype) const {
  const bool in_float32 = overflows_in_half && dtype == at::kHalf;
  return num_parameters * static_cast<int64_t>(c10::elementSize(in_float32 ? at::kFloat : dtype));
}

ParsedPipeline::ParsedPipeline(ParsedModel model) : parts_(PixelParts(std::move(model))) {}

absl::StatusOr<ParsedPipeline> ParsedPipeline::Open(const std::filesystem::path& folder) {
  return WithoutExceptions([&]() -> absl::StatusOr<ParsedPipeline> {
    ASSIGN_OR_RETURN(auto parts, OpenParts(folder, /*with_weights=*/true));
    return ParsedPipeline(std::move(parts));
  });
}

absl::StatusOr<ParsedPipeline> ParsedPipeline::OpenConfigs(const std::filesystem::path& folder) {
  return WithoutExceptions([&]() -> absl::StatusOr<ParsedPipeline> {
    ASSIGN_OR_RETURN(auto parts, OpenParts(folder, /*with_weights=*/false));
    return ParsedPipeline(std::move(parts));
  });
}

absl::StatusOr<ParsedPipeline> ParsedPipeline::OpenSingleFile(
    const std::filesystem::path& file, const std::filesystem::path& configs) {
  return WithoutExceptions([&]() -> absl::StatusOr<ParsedPipeline> {
    ASSIGN_OR_RETURN(auto parts, OpenSingleParts(file, configs));
    return ParsedPipeline(std::move(parts));
  });
}

at::ScalarType TextDtypeOnCpu(at::ScalarType dtype) {
  return dtype == at::kHalf ? at::kFloat : dtype;
}

Pipeline ToDevice(const Pipeline& pipeline, at::Device device, at::ScalarType dtype) {
  return {.network = pipeline.network->To(device, dtype),
          .codec = pipeline.codec->To(device, dtype),
          .prompts = pipeline.prompts == nullptr ? nullptr : pipeline.prompts->To(device, dtype),
          .preview = pipeline.preview};
}

}  // namespace denoise
