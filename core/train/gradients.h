// Gradients of many tensors at once.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "core/nn/state_dict.h"

namespace denoise {

// Leaves that backward passes add their gradients to, from zero on, whichever of them they reach.
// `weights` are float32.
StateDict MakeTrainable(const StateDict& weights, at::Device device);

// In the order of names, sharing memory with what MakeTrainable made.
std::vector<at::Tensor> GradientsOf(const StateDict& weights);

// The Euclidean norm of all of them together, a scalar on their device. Not finite where one of them
// is not.
at::Tensor GlobalNorm(const std::vector<at::Tensor>& gradients);

void ScaleInPlace(const std::vector<at::Tensor>& gradients, double factor);
void ZeroInPlace(const std::vector<at::Tensor>& gradients);

}  // namespace denoise
