// float32 and bfloat16 tensors as runs of float32, for loops over elements. Internal to core/nn.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace denoise::nn::cpu {

// Contiguous elements in memory order. The tensor outlives it.
class FloatReader {
 public:
  explicit FloatReader(const at::Tensor& tensor);

  // Elements [offset, offset + count): in place, or converted into `buffer`.
  const float* Read(int64_t offset, int64_t count, std::vector<float>& buffer) const;

 private:
  const float* float_ = nullptr;
  const uint16_t* bfloat16_ = nullptr;
};

class FloatWriter {
 public:
  explicit FloatWriter(at::Tensor& tensor);

  // Where to put elements [offset, offset + count): their place, or `buffer`. Then Write.
  float* Place(int64_t offset, int64_t count, std::vector<float>& buffer) const;
  // To nearest, ties to even; NaN stays NaN.
  void Write(int64_t offset, int64_t count, const float* place) const;

 private:
  float* float_ = nullptr;
  uint16_t* bfloat16_ = nullptr;
};

}  // namespace denoise::nn::cpu
