// The noise stream of the reference values: one CPU generator for the whole batch.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace denoise {

class ReferenceNoise {
 public:
  explicit ReferenceNoise(uint64_t seed);
  ~ReferenceNoise();

  // randn([4, 3, 8, 8]) in float32, row-major.
  std::vector<double> Draw();

 private:
  struct Generator;  // keeps LibTorch out of this header
  std::unique_ptr<Generator> generator_;
};

}  // namespace denoise
