#include "server/models/model_loader.h"

#include <ATen/ops/isfinite.h>

#include <algorithm>
#include <future>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/error_details.h"
#include "core/base/status_macros.h"
#include "core/device/device_runtime.h"
#include "core/diffusion/device_errors.h"
#include "core/pipeline/pixel_pipeline.h"
#include "core/sampling/samplers/compile_plan.h"
#include "server/engine/memory_errors.h"
#include "server/models/model_id.h"
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

constexpr int64_t kMib = int64_t{1} << 20;

absl::Status DoesNotFit(int64_t bytes, at::Device device,
                        const std::optional<DeviceMemory>& memory) {
  std::string message = absl::StrCat("does not fit on ", device.str(), ": its weights take ",
                                     (bytes + kMib - 1) / kMib, " MiB");
  if (memory) {
    absl::StrAppend(&message, ", and ", memory->free_bytes / kMib, " of ",
                    memory->total_bytes / kMib, " MiB are free");
  }
  absl::StrAppend(&message, "; unload other models, or load it in a smaller --dtype");
  return WithErrorReason(absl::ResourceExhaustedError(message), kOutOfMemory);
}

// OK also where nobody knows how much is free.
absl::Status CheckRoom(int64_t bytes, at::Device device, int64_t released_bytes = 0) {
  const std::optional<DeviceMemory> memory = MakeDeviceRuntime(device)->Memory();
  if (!memory || bytes <= memory->free_bytes + released_bytes) return absl::OkStatus();
  if (bytes > memory->total_bytes) {
    return WithErrorReason(
        absl::ResourceExhaustedError(
            absl::StrCat("its weights take ", (bytes + kMib - 1) / kMib, " MiB, but ", device.str(),
                         " has ", memory->total_bytes / kMib, " MiB; try a smaller --dtype")),
        "EXCEEDS_DEVICE");  // making room does not help
  }
  return DoesNotFit(bytes, device, memory);
}

// `error` of loading, or what is missing if that is memory.
absl::Status OnDevice(const absl::Status& error, int64_t bytes, at::Device device) {
  if (!absl::IsResourceExhausted(error)) return error;
  const std::optional<DeviceMemory> memory = MakeDeviceRuntime(device)->Memory();
  if (!memory || bytes > memory->free_bytes) return DoesNotFit(bytes, device, memory);
  return WithErrorReason(
      absl::ResourceExhaustedError(absl::StrCat("ran out of memory while it was loaded to ",
                                                device.str(), " and tried there")),
      kOutOfMemory);
}

// LibTorch's exceptions end here: a device is missing, or out of memory.
template <typename Make>
absl::StatusOr<Pipeline> MakeReplica(int64_t bytes, at::Device device, const Make& make) {
  const auto warm = [&]() -> absl::StatusOr<Pipeline> {
    RETURN_IF_ERROR(CheckRoom(bytes, device));
    ASSIGN_OR_RETURN(Pipeline replica, make());
    RETURN_IF_ERROR(WarmUp(*replica.network));
    return replica;
  };
  absl::StatusOr<Pipeline> replica = CatchDeviceErrors(warm);
  if (!replica.ok() && !GetErrorReason(replica.status())) {
    return OnDevice(replica.status(), bytes, device);
  }
  return replica;
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

absl::Status CheckRoomFor(const Model& model, const ModelLoadOptions& options,
                          int64_t released_bytes) {
  const auto check = [&]() -> absl::StatusOr<bool> {
    for (const at::Device& device : options.devices) {
      RETURN_IF_ERROR(CheckRoom(model.memory_bytes, device, released_bytes));
    }
    return true;
  };
  return CatchDeviceErrors(check).status();
}

absl::Status WarmUp(const Network& network) {
  const auto evaluate = [&]() -> absl::StatusOr<at::Tensor> {
    const NetworkInput input = ProbeInput(network.spec(), network.device());
    const at::Tensor output = network.Forward(input);
    RETURN_IF_ERROR(CheckOutput(output, input.x, network.spec()));
    return output;
  };
  return CatchDeviceErrors(evaluate).status();
}

ModelInfo InfoOf(const ModelDescription& description) {
  return InfoOf(DescribePixelPipeline(description));
}

at::ScalarType ModelLoadOptions::DtypeOf(std::string_view id) const {
  for (const std::string_view name : {id, SplitModelId(id).first}) {
    if (const auto found = model_dtypes.find(name); found != model_dtypes.end()) {
      return found->second;
    }
  }
  return dtype;
}

int64_t MemoryBytes(const PipelineDescription& description, std::string_view id,
                    const ModelLoadOptions& options) {
  const at::ScalarType dtype = options.DtypeOf(id);
  const bool texts_elsewhere =
      options.pipeline.text_encoders_on_cpu && !options.devices.front().is_cpu();
  int64_t bytes = 0;
  for (const PartDescription& part : description.parts) {
    if (part.encodes_text && texts_elsewhere) continue;
    bytes += part.MemoryBytes(dtype);
  }
  return bytes;
}

absl::StatusOr<ModelHandle> DescribeModel(const ParsedPipeline& parsed, std::string id,
                                          const ModelLoadOptions& options) {
  ModelInfo info = InfoOf(parsed.description());
  RETURN_IF_ERROR(CheckSampler(info));
  ASSIGN_OR_RETURN(std::string version, parsed.Version());
  const int64_t bytes = MemoryBytes(parsed.description(), id, options);
  return std::make_shared<Model>(Model{std::move(info), std::move(id), std::move(version), bytes});
}

namespace {

absl::StatusOr<LoadedModelHandle> LoadHere(const ParsedPipeline& parsed, ModelHandle model,
                                           const ModelLoadOptions& options,
                                           ModelMemory::Reservation memory) {
  PipelineOptions load = options.pipeline;
  load.placement = {.device = options.devices.front(), .dtype = options.DtypeOf(model->id)};
  const int64_t bytes = model->memory_bytes;
  ASSIGN_OR_RETURN(const Pipeline first,
                   MakeReplica(bytes, options.devices.front(), [&] { return parsed.Load(load); }));
  if (const auto& keys = parsed.description().ignored_keys; !keys.empty()) {
    LogEvent(spdlog::level::warn, "keys of a model's configurations ignored",
             {{"model", model->id}, {"keys", absl::StrJoin(keys, "; ")}});
  }
  if (const auto& parts = parsed.description().ignored_parts; !parts.empty()) {
    LogEvent(spdlog::level::info, "parts of a model ignored",
             {{"model", model->id}, {"parts", absl::StrJoin(parts, ", ")}});
  }
  PipelineReplicas pipelines = {std::make_shared<const Pipeline>(first)};
  for (size_t i = 1; i < options.devices.size(); ++i) {
    const at::Device device = options.devices[i];
    const auto copy = [&]() -> absl::StatusOr<Pipeline> {
      return ToDevice(first, device, load.placement.dtype);
    };
    ASSIGN_OR_RETURN(Pipeline replica, MakeReplica(bytes, device, copy));
    pipelines.push_back(std::make_shared<const Pipeline>(std::move(replica)));
  }
  return std::make_shared<LoadedModel>(
      LoadedModel{std::move(model), std::move(pipelines), std::move(memory)});
}

}  // namespace

// A thread that has run parallel code keeps its OpenMP threads until it ends. As long as there are
// more of them than cores, no thread of OpenMP spins while it waits, whatever it is told, and every
// evaluation pays for sleeping and waking up hundreds of times. So the thread that loads ends.
absl::StatusOr<LoadedModelHandle> LoadModel(const ParsedPipeline& parsed, ModelHandle model,
                                            const ModelLoadOptions& options,
                                            ModelMemory::Reservation memory) {
  return std::async(std::launch::async,
                    [&] { return LoadHere(parsed, std::move(model), options, std::move(memory)); })
      .get();
}

absl::StatusOr<LoadedModelHandle> LoadModel(const std::filesystem::path& folder, std::string id,
                                            const ModelLoadOptions& options) {
  ASSIGN_OR_RETURN(const ParsedPipeline parsed, ParsedPipeline::Open(folder));
  ASSIGN_OR_RETURN(ModelHandle model, DescribeModel(parsed, std::move(id), options));
  return LoadModel(parsed, std::move(model), options);
}

}  // namespace denoise
