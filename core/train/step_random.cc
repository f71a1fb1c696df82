#include "core/train/step_random.h"

#include <ATen/CPUGeneratorImpl.h>

namespace denoise {
namespace {

constexpr uint64_t kGoldenGamma = 0x9e3779b97f4a7c15u;

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

}  // namespace denoise
