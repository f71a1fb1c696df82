// UNet2DCondition, weight-compatible with diffusers' UNet2DConditionModel: the network of Stable
// Diffusion 1, 2 and XL (Rombach et al. 2022; Podell et al. 2023), which reads a text.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "core/nn/layer_shapes.h"
#include "core/nn/network.h"
#include "core/nn/placement.h"
#include "core/nn/state_dict.h"
#include "core/nn/stored_tensor.h"
#include "core/nn/unet2d_condition_config.h"
#include "core/nn/weight_initializer.h"

namespace denoise {

struct UNet2DConditionOptions {
  // On the CPU, use kernels whose result for a row does not depend on the rest of the batch. They
  // are also the faster ones. Then Forward is not differentiable.
  bool batch_invariant = true;
  // How many of `in_channels` are x. The rest is Condition::channels: a mask and a masked picture.
  // Default: `out_channels`, or half of it if those are more than `in_channels` and the variance is
  // learned.
  std::optional<int64_t> sample_channels = std::nullopt;
  // The numbers in Condition::time_ids if the network takes any. The file says only how long they
  // and the pooled text are together: SDXL has 6, its refiner 5.
  int64_t num_time_ids = 6;
};

// Builds the network as CreateUNet2D does. x may have any height and width. InvalidArgument may
// also name the key of the config that does not suit `options`.
absl::StatusOr<std::shared_ptr<const Network>> CreateUNet2DCondition(
    const UNet2DConditionConfig& config, const NamedTensors& weights,
    const UNet2DConditionOptions& options, const Placement& placement = {});

// The spec of such a network but for num_parameters. InvalidArgument as CreateUNet2DCondition.
absl::StatusOr<NetworkSpec> NetworkSpecOf(const UNet2DConditionConfig& config,
                                          const UNet2DConditionOptions& options);

// Weights of a new network, initialised like those of InitializeUNet2D.
StateDict InitializeUNet2DCondition(const UNet2DConditionConfig& config, uint64_t seed);

// The same, to be made one at a time.
nn::WeightInitializer UNet2DConditionInitializer(const UNet2DConditionConfig& config);

// The layers of such a network that an adapter can change, with the shapes of their weights.
LayerShapes UNet2DConditionLayers(const UNet2DConditionConfig& config);

// The number of these weights, without making them.
int64_t CountUNet2DConditionParameters(const UNet2DConditionConfig& config);

}  // namespace denoise
