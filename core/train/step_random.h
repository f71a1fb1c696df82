// Everything random in training, as a function of the seed, the purpose, the step and the row.
//
// No generator's state is carried from one step to the next: the same arguments give the same
// numbers at any time, on any thread. So a run that resumes from a checkpoint repeats what an
// uninterrupted one does.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

namespace denoise {

// The values are part of what a seed means: never reuse one.
enum class RandomPurpose : uint64_t {
  kPictureOrder = 1,  // per epoch
  kFlip = 2,          // per step and row, like the two below
  kCropLeft = 3,
  kCropTop = 4,
  kTimesteps = 5,  // per step
  kNoise = 6,
  kLabelDropout = 7,
  kRollBack = 8,  // per step that a run rolled back to
};

// 64 bits, independent for each combination of arguments.
uint64_t RandomBits(uint64_t seed, RandomPurpose purpose, int64_t step, int64_t row = 0);

// In [0, 1).
double RandomUnit(uint64_t seed, RandomPurpose purpose, int64_t step, int64_t row = 0);

// A CPU generator seeded with those bits. (LibTorch uses the low 32.)
at::Generator RandomGenerator(uint64_t seed, RandomPurpose purpose, int64_t step, int64_t row = 0);

// The seed that `step` draws with. A run that rolled back to step `rolled_back_to` draws different
// numbers from there on, since the same ones would only repeat what went wrong. nullopt: the run
// never rolled back.
uint64_t SeedOfStep(uint64_t seed, int64_t step, std::optional<int64_t> rolled_back_to);

// The finaliser of SplitMix64 (Steele, Lea & Flood 2014), a bijection that scatters all bits.
constexpr uint64_t MixBits(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// The picture at place `index` of an epoch, both in [0, pictures). Each epoch shows every picture
// once, in an order that depends on the seed and the epoch. Nothing has to be shuffled or stored.
int64_t PictureAt(int64_t index, int64_t pictures, uint64_t seed, int64_t epoch);

// Rows [first, first + shape[0]) of the noise of `step`: standard normal, float32, on the CPU. Each
// row has its own generator, so its noise does not depend on how the step is split into network
// calls.
at::Tensor StepNoise(uint64_t seed, int64_t step, int64_t first, at::IntArrayRef shape);

// `labels`, [B] int64 on the CPU, of the rows from `first` on, each replaced by `null_label` with
// probability `dropout` (Ho & Salimans 2021, algorithm 1).
at::Tensor DropLabels(uint64_t seed, int64_t step, int64_t first, const at::Tensor& labels,
                      double dropout, int64_t null_label);

}  // namespace denoise
