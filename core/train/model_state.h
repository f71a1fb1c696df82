// What training changes of a network.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "core/nn/state_dict.h"
#include "core/train/adamw.h"

namespace denoise {

// Everything is float32, on one device, by the weights' names.
struct ModelState {
  StateDict weights;  // leaves that have gradients
  AdamMoments moments;
  std::vector<StateDict> averages;
};

// Before the first step: averages are the weights, moments 0.
ModelState InitialModelState(const StateDict& weights, size_t averages, at::Device device);

// Copies on the CPU: "weights.NAME", "adam.m.NAME", "adam.v.NAME", "ema.I.NAME".
StateDict PackModelState(const ModelState& model);

// InvalidArgument unless `packed` is of such a network with as many averages as `model`.
absl::Status CheckPackedModelState(const StateDict& packed, const ModelState& model);

// Copies `packed`, which passed that, into the tensors of `model`, which stay where they are.
void UnpackModelState(const StateDict& packed, ModelState& model);

// New tensors, even where they are on that device already.
StateDict CopyTo(at::Device device, const StateDict& tensors);

}  // namespace denoise
