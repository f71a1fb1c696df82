// What an optimiser step does to a network's weights: gradients, learning rate, AdamW, moving
// averages and the loss scale. Except for LossScaler these are functions without state.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/nn/state_dict.h"
#include "core/train/training_options.h"

namespace denoise {

// Float32 copies of `weights` on `device` that accumulate gradients in backward passes.
StateDict MakeTrainable(const StateDict& weights, at::Device device);

// The gradients of those `weights` that a backward pass has reached. They share memory with the
// weights' own.
StateDict GradientsOf(const StateDict& weights);

// The Euclidean norm over all gradients, a scalar on their device; not finite if any element is
// not. Requires at least one gradient.
at::Tensor GlobalNorm(const StateDict& gradients);

void ScaleInPlace(const StateDict& gradients, double factor);
void ZeroInPlace(const StateDict& gradients);

// The learning rate of step 1 to max_steps. It rises linearly from 0 before the first step to
// learning_rate at step warmup_steps, then decays to reach 0 after max_steps, so that no step is
// wasted on a rate of 0.
double LearningRateAt(const OptimizerOptions& options, int64_t max_steps, int64_t step);

// The moving averages of the gradients and of their squares, by the weights' names.
struct AdamMoments {
  StateDict m;
  StateDict v;
};

AdamMoments ZeroMoments(const StateDict& weights);

// Adam with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2). Update t of `weights`,
// counted from 1:
//
//     m = beta1 m + (1 - beta1) g          v = beta2 v + (1 - beta2) g^2
//     w = w - rate weight_decay w - rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
//
// Both terms follow the learning rate, as in the libraries in use. Weights without a gradient are
// not being trained and keep their values. Works in place, on whatever device the tensors are; call
// it with gradient recording turned off.
void StepAdamW(const OptimizerOptions& options, double learning_rate, int64_t t,
               const StateDict& gradients, StateDict& weights, AdamMoments& moments);

// The decay of update n of a moving average of the weights, counted from 0:
// min(decay, (1 + n) / (10 + n)). Early averages quickly forget the random initial weights.
double EmaDecayAt(double decay, int64_t n);

// average = d average + (1 - d) weights, in place, with d = EmaDecayAt(decay, n). Both have the
// same names. Call it with gradient recording turned off.
void UpdateEma(double decay, int64_t n, const StateDict& weights, StateDict& average);

// Scales the loss so that float16 gradients do not underflow (Micikevicius et al. 2018, section
// 3.2). The scale doubles after 2000 consecutive steps with finite gradients and halves after one
// without. Other precisions have float32's range and keep a scale of 1. Not thread-safe.
class LossScaler {
 public:
  // Saved in training checkpoints.
  struct State {
    double scale = 1;
    int64_t finite_steps = 0;  // since the scale last changed

    bool operator==(const State&) const = default;
  };

  explicit LossScaler(TrainingPrecision precision);

  double scale() const { return state_.scale; }
  void Update(bool finite);

  const State& state() const { return state_; }
  void SetState(const State& state) { state_ = state; }

 private:
  bool dynamic_;
  State state_;
};

}  // namespace denoise
