#include "core/train/step_random.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/stack.h>

#include <bit>
#include <vector>

#include "core/base/check.h"
#include "core/diffusion/noise_source.h"

namespace denoise {
namespace {

constexpr uint64_t kGoldenGamma = 0x9e3779b97f4a7c15u;

// A Feistel network: a bijection of the numbers of 2 `half_bits` bits, whatever its round function
// is (Luby & Rackoff 1988).
uint64_t Permute(uint64_t x, int half_bits, uint64_t seed, int64_t epoch) {
  constexpr int kRounds = 6;
  const uint64_t mask = (uint64_t{1} << half_bits) - 1;
  uint64_t left = x >> half_bits, right = x & mask;
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t key = RandomBits(seed, RandomPurpose::kPictureOrder, epoch, round);
    const uint64_t mixed = left ^ (MixBits(right ^ key) & mask);
    left = right;
    right = mixed;
  }
  return left << half_bits | right;
}

}  // namespace

uint64_t RandomBits(uint64_t seed, RandomPurpose purpose, int64_t step, int64_t row) {
  uint64_t bits = MixBits(seed + kGoldenGamma);
  for (const uint64_t part :
       {static_cast<uint64_t>(purpose), static_cast<uint64_t>(step), static_cast<uint64_t>(row)}) {
    bits = MixBits((bits ^ part) + kGoldenGamma);
  }
  return bits;
}

double RandomUnit(uint64_t seed, RandomPurpose purpose, int64_t step, int64_t row) {
  return static_cast<double>(RandomBits(seed, purpose, step, row) >> 11) * 0x1p-53;
}

at::Generator RandomGenerator(uint64_t seed, RandomPurpose purpose, int64_t step, int64_t row) {
  return at::detail::createCPUGenerator(RandomBits(seed, purpose, step, row));
}

uint64_t SeedOfStep(uint64_t seed, int64_t step, std::optional<int64_t> rolled_back_to) {
  if (!rolled_back_to || step <= *rolled_back_to) return seed;
  return RandomBits(seed, RandomPurpose::kRollBack, *rolled_back_to);
}

// Walks along the cycle of the bijection until it is back among the pictures (Black & Rogaway
// 2002), which takes fewer than four steps on average.
int64_t PictureAt(int64_t index, int64_t pictures, uint64_t seed, int64_t epoch) {
  DENOISE_DCHECK(index >= 0 && index < pictures);
  const int bits = std::bit_width(static_cast<uint64_t>(pictures - 1));
  const int half_bits = bits < 2 ? 1 : (bits + 1) / 2;
  auto picture = static_cast<uint64_t>(index);
  do {
    picture = Permute(picture, half_bits, seed, epoch);
  } while (picture >= static_cast<uint64_t>(pictures));
  return static_cast<int64_t>(picture);
}

at::Tensor StepNoise(uint64_t seed, int64_t step, int64_t first, at::IntArrayRef shape) {
  std::vector<at::Tensor> rows;
  for (int64_t row = first; row < first + shape[0]; ++row) {
    NoiseSource source(RandomBits(seed, RandomPurpose::kNoise, step, row));
    rows.push_back(source.Draw(shape.slice(1)));
  }
  return at::stack(rows);
}

at::Tensor DropLabels(uint64_t seed, int64_t step, int64_t first, const at::Tensor& labels,
                      double dropout, int64_t null_label) {
  at::Tensor dropped = labels.clone();
  int64_t* label = dropped.data_ptr<int64_t>();
  for (int64_t i = 0; i < dropped.numel(); ++i) {
    if (RandomUnit(seed, RandomPurpose::kLabelDropout, step, first + i) < dropout) {
      label[i] = null_label;
    }
  }
  return dropped;
}

}  // namespace denoise
