// The noise of one image.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace denoise {

// Standard normal noise for one image, from a CPU generator seeded with `seed`: contiguous float32
// in CHW order, so that the same seed gives the same image as a per-image torch.Generator does in
// Python, whatever the device. (As there, the generator reads the low 32 bits of the seed.) The
// draws of a trajectory, in order:
//
//     its own initial noise, even if it starts from something else
//     if it starts from a frame: the draws of the skipped steps
//     for each evaluation: the sampler's noise if it AddsNoise(), then the noise of the known part
//     if this ends a step of an inpainted trajectory at a level with noise
class NoiseSource {
 public:
  explicit NoiseSource(uint64_t seed);
  at::Tensor Draw(at::IntArrayRef shape);  // on the CPU

 private:
  at::Generator generator_;
};

}  // namespace denoise
