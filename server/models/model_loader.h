// From a checkpoint folder to a model on every device.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/pipeline/parsed_pipeline.h"
#include "server/models/model.h"

namespace denoise {

struct ModelLoadOptions {
  std::vector<at::Device> devices = {at::Device(at::kCPU)};
  at::ScalarType dtype = at::kFloat;  // what models compute in ...
  // ... but for these, by id. A name without a version is that of all versions without an own
  // entry.
  std::map<std::string, at::ScalarType, std::less<>> model_dtypes = {};
  PipelineOptions pipeline = {};  // but for its placement

  at::ScalarType DtypeOf(std::string_view id) const;
};

// The model without its weights. InvalidArgument where the parts do not fit together: a sampler
// that needs a variance the network does not predict, or labels beyond the classes. Other errors
// are those of ParsedPipeline::Version.
absl::StatusOr<ModelHandle> DescribeModel(const ParsedPipeline& parsed, std::string id,
                                          const ModelLoadOptions& options);

// What the weights of such a model take of each device: parts that stay on the CPU beside it do not
// count, and those that overflow in float16 take twice as much.
int64_t MemoryBytes(const PipelineDescription& description, std::string_view id,
                    const ModelLoadOptions& options);

// Whether the devices have room for the weights of `model` now, or would have if `released_bytes`
// more were free. ResourceExhausted says what they take and what is free, or that there will never
// be room (reason EXCEEDS_DEVICE).
absl::Status CheckRoomFor(const Model& model, const ModelLoadOptions& options,
                          int64_t released_bytes = 0);

// Loads the parts of `parsed`, which `model` describes, straight to the first device, copies them
// from there to the others, and warms each copy up. Files are hostile; errors name them relative to
// the model's folder and never its own path. Errors are those of ParsedPipeline::Load. A device
// without room for the weights is left alone: ResourceExhausted says what they take and what is
// free. Keys of configurations and parts that are ignored are named in the log.
absl::StatusOr<LoadedModelHandle> LoadModel(const ParsedPipeline& parsed, ModelHandle model,
                                            const ModelLoadOptions& options,
                                            ModelMemory::Reservation memory = {});
// The same from a folder, with the errors of ParsedPipeline::Open and DescribeModel.
absl::StatusOr<LoadedModelHandle> LoadModel(const std::filesystem::path& folder, std::string id,
                                            const ModelLoadOptions& options);

// What a server knows of a model that was parsed. Its default sampler is the checkpoint's
// scheduler, in 20 steps where its schedule has as many; a consistency model takes one.
ModelInfo InfoOf(const PipelineDescription& description);
ModelInfo InfoOf(const ModelDescription& description);

// Evaluates one row, so that kernels are chosen and memory is allocated before the first request.
// Internal where the network throws; InvalidArgument where its output has another shape than its
// spec says, or is not finite.
absl::Status WarmUp(const Network& network);

}  // namespace denoise
