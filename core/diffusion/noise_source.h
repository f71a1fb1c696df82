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
//     where a codec samples latents: for the picture that it starts from or keeps a part of
//     its own initial noise, even if it starts from something else
//     where a codec samples latents: for the picture of an inpainting without its hole
//     if it starts from a frame: the draws of the skipped steps
//     for each evaluation: the sampler's noise if it AddsNoise(), then, if the trajectory's
//     inpainting takes fresh noise and this ends a step at a level with noise, that of the known part
class NoiseSource {
 public:
  NoiseSource(uint64_t seed);  // not explicit: a seed is a source, where nothing was drawn yet
  at::Tensor Draw(at::IntArrayRef shape);  // on the CPU
  // The next Draw returns `noise`, which an earlier one returned. At most one is put back.
  void PutBack(at::Tensor noise);

 private:
  at::Generator generator_;
  at::Tensor put_back_;  // undefined: nothing
};

}  // namespace denoise
