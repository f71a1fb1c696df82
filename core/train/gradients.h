// Gradients of many tensors at once.
#pragma once

#include <ATen/core/Tensor.h>

#include "core/nn/state_dict.h"

namespace denoise {

// Copies on `device`, in float32, that backward passes add their gradients to.
StateDict MakeTrainable(const StateDict& weights, at::Device device);

// Of those among `weights` that a backward pass has reached, sharing memory with them.
StateDict GradientsOf(const StateDict& weights);

// The Euclidean norm of all of them together, a scalar on their device. Not finite where one of them
// is not. There is at least one.
at::Tensor GlobalNorm(const StateDict& gradients);

void ScaleInPlace(const StateDict& gradients, double factor);
void ZeroInPlace(const StateDict& gradients);

}  // namespace denoise
