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
//     its own initial noise, whether or not it starts from that
//     as many as the steps before its first one have drawn, where it starts from a frame
//     for each evaluation, the noise of the sampler where it AddsNoise(), then, where a step of an
//     inpainted trajectory ends with noise, that of the known part
class NoiseSource {
 public:
  explicit NoiseSource(uint64_t seed);
  at::Tensor Draw(at::IntArrayRef shape);  // on the CPU

 private:
  at::Generator generator_;
};

}  // namespace denoise
