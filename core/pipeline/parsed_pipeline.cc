#include "core/pipeline/parsed_pipeline.h"

#include <c10/core/ScalarType.h>

#include "core/base/status_macros.h"
#include "core/io/model_folder.h"
#include "core/pipeline/latent_family.h"
#include "core/pipeline/latent_pipeline.h"
#include "core/pipeline/pipeline_index.h"
#include "core/pipeline/pixel_pipeline.h"

namespace denoise {
namespace {

// The family of the folder; null where it is a model that works on pixels, or is none.
absl::StatusOr<const LatentFamily*> FamilyOf(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const ModelFolder folder, ModelFolder::Open(path));
  if (!folder.HasFile(kModelIndexFile)) return nullptr;
  ASSIGN_OR_RETURN(const std::string text,
                   folder.ReadText(kModelIndexFile, kMaxPipelineConfigBytes));
  const absl::StatusOr<PipelineIndex> index = ParsePipelineIndex(text);
  return index.ok() ? FindLatentFamily(index->pipeline) : nullptr;
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
