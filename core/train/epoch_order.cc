#include "core/train/epoch_order.h"

#include <bit>

#include "core/base/check.h"
#include "core/train/step_random.h"

namespace denoise {
namespace {

constexpr int kRounds = 6;

// A Feistel network: a bijection of the numbers of 2 `half_bits` bits, whatever its round function is
// (Luby & Rackoff 1988).
uint64_t Permute(uint64_t x, int half_bits, uint64_t seed, int64_t epoch) {
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

// Walks along the cycle of the bijection until it is back among the pictures (Black & Rogaway 2002):
// fewer than four steps, on average.
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

}  // namespace denoise
