// Models that work on the latents of a codec: Stable Diffusion and its relatives.
#pragma once

#include <filesystem>
#include <memory>
#include <variant>

#include "absl/status/statusor.h"
#include "core/pipeline/latent_family.h"
#include "core/pipeline/parsed_pipeline.h"

namespace denoise {

// Where the weights of a model are.
struct NoWeights {};      // they are not read
struct FolderWeights {};  // beside its configurations
struct SingleFileWeights {
  std::filesystem::path file;  // in the original layout
};
using WeightsSource = std::variant<NoWeights, FolderWeights, SingleFileWeights>;

// Parses the configurations of `folder`, a model of `family`, and reads its weights from `source`.
// Errors are those of ParsedPipeline::Open and OpenSingleFile.
absl::StatusOr<std::shared_ptr<const PipelineParts>> OpenLatentParts(
    const std::filesystem::path& folder, const LatentFamily& family, const WeightsSource& source);

}  // namespace denoise
