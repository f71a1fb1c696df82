// Adam with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2).
#pragma once

#include <cstdint>

#include "core/nn/state_dict.h"
#include "core/train/training_options.h"

namespace denoise {

// The moving averages of the gradients and of their squares, by the weights' names.
struct AdamMoments {
  StateDict m;
  StateDict v;
};

AdamMoments ZeroMoments(const StateDict& weights);

// Update t of `weights`, 1 is the first:
//
//     m = beta1 m + (1 - beta1) g          v = beta2 v + (1 - beta2) g^2
//     w = w - rate weight_decay w - rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
//
// Both terms follow the learning rate, as in the libraries in use. Weights without a gradient are no
// part of what is trained: they stay as they are. Works in place, on whatever device the tensors are;
// to be called without gradients being recorded.
void StepAdamW(const OptimizerOptions& options, double learning_rate, int64_t t,
               const StateDict& gradients, StateDict& weights, AdamMoments& moments);

}  // namespace denoise
