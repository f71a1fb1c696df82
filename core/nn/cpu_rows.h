// How the CPU kernels cut the rows of a batch. Internal to core/nn.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>

#include "core/nn/cpu_loops.h"

namespace denoise::nn::cpu {

// A row's pixels, cut into pieces of equal size but for the last.
struct Pieces {
  int64_t pixels;  // of a row
  int64_t piece;   // pixels of a piece
  int64_t count;

  Pieces(int64_t pixels_of_row, int64_t channels)
      : pixels(pixels_of_row),
        piece(std::max<int64_t>(1, kTaskElements / channels)),
        count((pixels + piece - 1) / piece) {}

  int64_t First(int64_t index) const { return index * piece; }
  int64_t Size(int64_t index) const { return std::min(piece, pixels - index * piece); }
};

// Of [B, C] float32, or null.
inline const float* RowOf(const at::Tensor& tensor, int64_t row, int64_t channels) {
  return tensor.defined() ? tensor.data_ptr<float>() + row * channels : nullptr;
}

}  // namespace denoise::nn::cpu
