#include "server/models/model_loader.h"

#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/zeros.h>
#include <c10/core/ScalarType.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/status_macros.h"
#include "core/io/checkpoint.h"
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
absl::StatusOr<std::shared_ptr<const Network>> Replicate(const Network& network, at::Device device,
                                                         at::ScalarType dtype) {
  try {
    auto replica = network.To(device, dtype);
    RETURN_IF_ERROR(WarmUp(*replica));
    return replica;
  } catch (const c10::Error& error) {
    return absl::InternalError(
        absl::StrCat("cannot be placed on ", device.str(), ": ", error.what_without_backtrace()));
  } catch (const std::exception& error) {
    return absl::InternalError(
        absl::StrCat("cannot be placed on ", device.str(), ": ", error.what()));
  }
}

absl::Status CheckOutput(const at::Tensor& output, const NetworkSpec& spec) {
  if (output.sizes() != at::IntArrayRef({1, spec.out_channels, spec.height, spec.width})) {
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

NetworkSpec SpecOf(const UNet2DConfig& config) {
  return {.in_channels = config.in_channels,
          .out_channels = config.out_channels,
          .height = config.height,
          .width = config.width,
          .num_class_embeds = config.num_class_embeds,
          .num_parameters = CountUNet2DParameters(config)};
}

}  // namespace

ModelInfo InfoOf(const ModelDescription& description) {
  return {.source = description.source,
          .spec = SpecOf(description.unet),
          .schedule = description.schedule,
          .scheduler = description.scheduler,
          .default_sampler = DefaultSampler(description.scheduler, description.schedule),
          .id2label = description.id2label,
          .null_class_label = description.null_class_label};
}

absl::Status WarmUp(const Network& network) {
  const NetworkSpec& spec = network.spec();
  const auto on_device = at::TensorOptions().device(network.device());
  NetworkInput input;
  input.x = at::zeros({1, spec.in_channels, spec.height, spec.width}, on_device.dtype(at::kFloat));
  input.timesteps = at::full({1}, 1.0, on_device.dtype(at::kFloat));
  if (spec.num_class_embeds > 0) input.class_labels = at::zeros({1}, on_device.dtype(at::kLong));
  try {
    return CheckOutput(network.Forward(input), spec);
  } catch (const c10::Error& error) {
    return absl::InternalError(
        absl::StrCat("the network failed: ", error.what_without_backtrace()));
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("the network failed: ", error.what()));
  }
}

int64_t MemoryBytes(const ModelDescription& description, at::ScalarType dtype) {
  return CountUNet2DParameters(description.unet) * static_cast<int64_t>(c10::elementSize(dtype));
}

absl::StatusOr<ModelHandle> DescribeModel(const ParsedModel& parsed, std::string id,
                                          at::ScalarType dtype) {
  ModelInfo info = InfoOf(parsed.description());
  RETURN_IF_ERROR(CheckSampler(info));
  return std::make_shared<Model>(Model{std::move(info), std::move(id), VersionOf(parsed),
                                       MemoryBytes(parsed.description(), dtype)});
}

absl::StatusOr<LoadedModelHandle> LoadModel(const ParsedModel& parsed, ModelHandle model,
                                            const ModelLoadOptions& options,
                                            ModelMemory::Reservation memory) {
  ASSIGN_OR_RETURN(const auto network, LoadNetwork(parsed, options.network));
  if (const auto& keys = parsed.description().ignored_keys; !keys.empty()) {
    LogEvent(spdlog::level::warn, "keys of a model's configurations ignored",
             {{"model", model->id}, {"keys", absl::StrJoin(keys, "; ")}});
  }
  NetworkReplicas networks;
  for (const at::Device& device : options.devices) {
    ASSIGN_OR_RETURN(auto replica, Replicate(*network, device, options.dtype));
    networks.push_back(std::move(replica));
  }
  return std::make_shared<LoadedModel>(
      LoadedModel{std::move(model), std::move(networks), std::move(memory)});
}

absl::StatusOr<LoadedModelHandle> LoadModel(const std::filesystem::path& folder, std::string id,
                                            const ModelLoadOptions& options) {
  ASSIGN_OR_RETURN(const ParsedModel parsed, ParsedModel::Open(folder));
  ASSIGN_OR_RETURN(ModelHandle model, DescribeModel(parsed, std::move(id), options.dtype));
  return LoadModel(parsed, std::move(model), options);
}

}  // namespace denoise
