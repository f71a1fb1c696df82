#include "server/models/model_loader.h"

#include <ATen/ops/isfinite.h>
#include <c10/core/ScalarType.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <exception>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/status_macros.h"
#include "core/pipeline/pixel_pipeline.h"
#include "core/sampling/samplers/compile_plan.h"
#include "server/telemetry/log.h"

namespace denoise {
namespace {

constexpr int kDefaultSteps = 20;

absl::Status CheckSampler(const ModelInfo& model) {
  const auto plan = CompilePlan(model.schedule, model.default_sampler);
  if (!plan.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("its default sampler cannot run: ", plan.status().message()));
  }
  return absl::OkStatus();
}

// Catches LibTorch's exceptions: a device is missing or out of memory.
absl::StatusOr<Pipeline> Replicate(const Pipeline& pipeline, at::Device device,
                                   at::ScalarType dtype) {
  try {
    Pipeline replica = ToDevice(pipeline, device, dtype);
    RETURN_IF_ERROR(WarmUp(*replica.network));
    return replica;
  } catch (const c10::Error& error) {
    return absl::InternalError(
        absl::StrCat("cannot be placed on ", device.str(), ": ", error.what_without_backtrace()));
  } catch (const std::exception& error) {
    return absl::InternalError(
        absl::StrCat("cannot be placed on ", device.str(), ": ", error.what()));
  }
}

absl::Status CheckOutput(const at::Tensor& output, const at::Tensor& x, const NetworkSpec& spec) {
  if (output.sizes() != at::IntArrayRef({1, spec.out_channels, x.size(2), x.size(3)})) {
    return absl::InvalidArgumentError(
        "the network's output has another shape than its config says");
  }
  if (!at::isfinite(output).all().item<bool>()) {
    return absl::InvalidArgumentError("the network's output is not finite; try another --dtype");
  }
  return absl::OkStatus();
}

SamplerOptions DefaultSampler(const SchedulerConfig& config, const Schedule& schedule) {
  const bool one_step = schedule.family() == ScheduleFamily::kConsistency;
  SamplerOptions options = config.sampler;
  options.steps = one_step ? 1 : std::min(kDefaultSteps, schedule.num_train_timesteps());
  return options;
}

}  // namespace

ModelInfo InfoOf(const PipelineDescription& description) {
  return {.source = description.source,
          .spec = description.network,
          .codec = description.codec,
          .schedule = description.schedule,
          .scheduler = description.scheduler,
          .default_sampler = DefaultSampler(description.scheduler, description.schedule),
          .id2label = description.id2label,
          .null_class_label = description.null_class_label,
          .prompts = description.prompts,
          .guidance_scale = description.guidance_scale,
          .adapters = description.adapters};
}

absl::Status WarmUp(const Network& network) {
  try {
    const NetworkInput input = ProbeInput(network.spec(), network.device());
    return CheckOutput(network.Forward(input), input.x, network.spec());
  } catch (const c10::Error& error) {
    return absl::InternalError(
        absl::StrCat("the network failed: ", error.what_without_backtrace()));
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("the network failed: ", error.what()));
  }
}

ModelInfo InfoOf(const ModelDescription& description) {
  return InfoOf(DescribePixelPipeline(description));
}

int64_t MemoryBytes(const PipelineDescription& description, at::ScalarType dtype) {
  return description.num_parameters * static_cast<int64_t>(c10::elementSize(dtype));
}

absl::StatusOr<ModelHandle> DescribeModel(const ParsedPipeline& parsed, std::string id,
                                          at::ScalarType dtype) {
  ModelInfo info = InfoOf(parsed.description());
  RETURN_IF_ERROR(CheckSampler(info));
  ASSIGN_OR_RETURN(std::string version, parsed.Version());
  return std::make_shared<Model>(Model{std::move(info), std::move(id), std::move(version),
                                       MemoryBytes(parsed.description(), dtype)});
}

absl::StatusOr<LoadedModelHandle> LoadModel(const ParsedPipeline& parsed, ModelHandle model,
                                            const ModelLoadOptions& options,
                                            ModelMemory::Reservation memory) {
  PipelineOptions first = options.pipeline;
  first.placement = {.device = options.devices.front(), .dtype = options.dtype};
  ASSIGN_OR_RETURN(const Pipeline pipeline, parsed.Load(first));
  if (const auto& keys = parsed.description().ignored_keys; !keys.empty()) {
    LogEvent(spdlog::level::warn, "keys of a model's configurations ignored",
             {{"model", model->id}, {"keys", absl::StrJoin(keys, "; ")}});
  }
  if (const auto& parts = parsed.description().ignored_parts; !parts.empty()) {
    LogEvent(spdlog::level::info, "parts of a model ignored",
             {{"model", model->id}, {"parts", absl::StrJoin(parts, ", ")}});
  }
  PipelineReplicas pipelines;
  for (const at::Device& device : options.devices) {
    ASSIGN_OR_RETURN(Pipeline replica, Replicate(pipeline, device, options.dtype));
    pipelines.push_back(std::make_shared<const Pipeline>(std::move(replica)));
  }
  return std::make_shared<LoadedModel>(
      LoadedModel{std::move(model), std::move(pipelines), std::move(memory)});
}

absl::StatusOr<LoadedModelHandle> LoadModel(const std::filesystem::path& folder, std::string id,
                                            const ModelLoadOptions& options) {
  ASSIGN_OR_RETURN(const ParsedPipeline parsed, ParsedPipeline::Open(folder));
  ASSIGN_OR_RETURN(ModelHandle model, DescribeModel(parsed, std::move(id), options.dtype));
  return LoadModel(parsed, std::move(model), options);
}

}  // namespace denoise
