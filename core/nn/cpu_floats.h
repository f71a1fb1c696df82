// Gives loops access to float32 and bfloat16 tensors as float32. Internal to core/nn.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace denoise::nn::cpu {

// Reads contiguous elements in memory order. The tensor must outlive it.
class FloatReader {
 public:
  explicit FloatReader(const at::Tensor& tensor);

  // Returns elements [offset, offset + count), either in place or converted into `buffer`.
  const float* Read(int64_t offset, int64_t count, std::vector<float>& buffer) const;

 private:
  const float* float_ = nullptr;
  const uint16_t* bfloat16_ = nullptr;
};

class FloatWriter {
 public:
  explicit FloatWriter(at::Tensor& tensor);

  // Returns where to put elements [offset, offset + count): in place, or in `buffer`. Call Write
  // afterwards.
  float* Place(int64_t offset, int64_t count, std::vector<float>& buffer) const;
  // Rounds to nearest, ties to even; NaN stays NaN.
  void Write(int64_t offset, int64_t count, const float* place) const;

 private:
  float* float_ = nullptr;
  uint16_t* bfloat16_ = nullptr;
};

}  // namespace denoise::nn::cpu
