// What training changes: a network's weights, their moments and their averages.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "core/nn/state_dict.h"
#include "core/train/optimizer.h"

namespace denoise {

// All tensors are float32, on one device, under the weights' names.
struct ModelState {
  StateDict weights;  // leaves that require gradients
  AdamMoments moments;
  std::vector<StateDict> averages;
};

// The state before the first step: averages equal the weights, moments are 0.
ModelState InitialModelState(const StateDict& weights, size_t averages, at::Device device);

// Copies on the CPU: "weights.NAME", "adam.m.NAME", "adam.v.NAME", "ema.I.NAME".
StateDict PackModelState(const ModelState& model);

// InvalidArgument unless `packed` has the same tensors as PackModelState(model).
absl::Status CheckPackedModelState(const StateDict& packed, const ModelState& model);

// Copies `packed`, which has passed that check, into the existing tensors of `model`.
void UnpackModelState(const StateDict& packed, ModelState& model);

// New tensors, even for those already on that device.
StateDict CopyTo(at::Device device, const StateDict& tensors);

}  // namespace denoise
