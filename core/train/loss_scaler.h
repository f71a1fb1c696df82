// Keeps float16 gradients from vanishing: the loss is scaled up before they are computed.
#pragma once

#include <cstdint>

#include "core/train/training_options.h"

namespace denoise {

// Dynamic loss scaling (Micikevicius et al. 2018, section 3.2): the scale doubles after 2000 steps
// in a row whose gradients were finite, and halves after one whose were not. Other precisions have
// float32's range and a scale of 1. Not thread-safe.
class LossScaler {
 public:
  // What it has learned, part of a training checkpoint.
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
