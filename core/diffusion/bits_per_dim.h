// The variational bound of whole pictures, one network call at a time, so that others can share the
// device and progress can be reported.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "core/diffusion/variational_bound.h"
#include "core/nn/network.h"

namespace denoise {

// Standard normal noise of a shape, [B, C, H, W] in float32; another draw at every call.
using NoiseFunction = std::function<at::Tensor(at::IntArrayRef shape)>;

// Row i has its own generator, seeded with seeds[i], as images have (noise_source.h): the result
// for a picture does not depend on the rest of its batch. Every shape has as many rows as seeds.
NoiseFunction NoiseOfSeeds(const std::vector<uint64_t>& seeds);

// Bits per dimension of each picture and what they are made of; double, on the CPU. N timesteps, in
// the order of VariationalBound::timesteps().
struct BitsPerDim {
  at::Tensor total;        // [B] prior + the sum of vb
  at::Tensor prior;        // [B]
  at::Tensor vb;           // [B, N]
  at::Tensor x0_mse;       // [B, N] mean squared error of the predicted x0 ...
  at::Tensor epsilon_mse;  // [B, N] ... and of the noise that follows from it
};

// A single draw of x_t at every timestep, whose sum is an unbiased estimate of the bound. Not
// thread-safe.
class BitsPerDimRun {
 public:
  // `x0` is [B, C, H, W] float32 in [-1, 1] and `class_labels` [B] int64, or undefined where the
  // network takes none, both on the network's device. `noise` is drawn from once a timestep.
  BitsPerDimRun(VariationalBound bound, at::Tensor x0, at::Tensor class_labels,
                NoiseFunction noise);

  size_t calls() const { return bound_.timesteps().size(); }  // network calls in all
  size_t calls_done() const { return vb_.size(); }
  bool done() const { return calls_done() == calls(); }

  // The next timestep, the noisiest first: one network call, without gradients. Requires !done().
  // Throws what the network throws, and may then be called again.
  void Advance(const Network& network);

  // Requires done().
  BitsPerDim Result() const;

 private:
  void Measure(const at::Tensor& x_t, const at::Tensor& noise, const at::Tensor& output);

  VariationalBound bound_;
  at::Tensor x0_;
  at::Tensor class_labels_;
  NoiseFunction draw_noise_;
  at::Tensor noise_;  // drawn for the next timestep already, where a call has thrown
  std::vector<at::Tensor> vb_, x0_mse_, epsilon_mse_;  // a [B] for each timestep done
};

}  // namespace denoise
