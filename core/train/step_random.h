// The randomness of training, as a function of what it is for.
//
// Nothing random is remembered from one step to the next: whoever needs some says the seed, the
// purpose, the step and the row, and gets the same again at any time, on any thread.
#pragma once

#include <ATen/core/Generator.h>

#include <cstdint>
#include <optional>

namespace denoise {

// Values are part of what a seed means: never reuse one.
enum class RandomPurpose : uint64_t {
  kPictureOrder = 1,  // per epoch
  kFlip = 2,          // per step and row, as are those below
  kCropLeft = 3,
  kCropTop = 4,
  kTimesteps = 5,  // per step
  kNoise = 6,
  kLabelDropout = 7,
  kRollBack = 8,  // per step that a run went back to
};

// 64 bits that are independent for every other combination.
uint64_t RandomBits(uint64_t seed, RandomPurpose purpose, int64_t step, int64_t row = 0);

// In [0, 1).
double RandomUnit(uint64_t seed, RandomPurpose purpose, int64_t step, int64_t row = 0);

// On the CPU, seeded with those bits. (LibTorch reads the low 32 of them.)
at::Generator RandomGenerator(uint64_t seed, RandomPurpose purpose, int64_t step, int64_t row = 0);

// The seed that `step` draws with. A run that went back to where it was after `rolled_back_to` steps
// draws anew from there on: on a device that repeats itself it would only repeat what went wrong.
// nullopt: it never went back.
uint64_t SeedOfStep(uint64_t seed, int64_t step, std::optional<int64_t> rolled_back_to);

// The finaliser of SplitMix64 (Steele, Lea & Flood 2014): a bijection that scatters all bits.
constexpr uint64_t MixBits(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace denoise
