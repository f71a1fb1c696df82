#include "core/nn/cpu_floats.h"

#include <bit>

#include "core/nn/cpu_loops.h"

namespace denoise::nn::cpu {
namespace {

DENOISE_VECTORIZED
void ToFloat(const uint16_t* __restrict x, int64_t count, float* __restrict y) {
  for (int64_t i = 0; i < count; ++i) y[i] = std::bit_cast<float>(uint32_t{x[i]} << 16);
}

DENOISE_VECTORIZED
void ToBFloat16(const float* __restrict x, int64_t count, uint16_t* __restrict y) {
  constexpr uint32_t kNaN = 0x7FC0;
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(x[i]);
    const uint32_t rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
    y[i] = static_cast<uint16_t>(x[i] == x[i] ? rounded : kNaN);
  }
}

template <typename T>
uint16_t* Bits(T* values) {
  static_assert(sizeof(at::BFloat16) == sizeof(uint16_t));
  return reinterpret_cast<uint16_t*>(values);
}

}  // namespace

FloatReader::FloatReader(const at::Tensor& tensor) {
  if (tensor.scalar_type() == at::kFloat) {
    float_ = tensor.data_ptr<float>();
  } else {
    bfloat16_ = Bits(tensor.data_ptr<at::BFloat16>());
  }
}

const float* FloatReader::Read(int64_t offset, int64_t count, std::vector<float>& buffer) const {
  if (float_) return float_ + offset;
  buffer.resize(count);
  ToFloat(bfloat16_ + offset, count, buffer.data());
  return buffer.data();
}

FloatWriter::FloatWriter(at::Tensor& tensor) {
  if (tensor.scalar_type() == at::kFloat) {
    float_ = tensor.data_ptr<float>();
  } else {
    bfloat16_ = Bits(tensor.data_ptr<at::BFloat16>());
  }
}

float* FloatWriter::Place(int64_t offset, int64_t count, std::vector<float>& buffer) const {
  if (float_) return float_ + offset;
  buffer.resize(count);
  return buffer.data();
}

void FloatWriter::Write(int64_t offset, int64_t count, const float* place) const {
  if (bfloat16_) ToBFloat16(place, count, bfloat16_ + offset);
}

}  // namespace denoise::nn::cpu
