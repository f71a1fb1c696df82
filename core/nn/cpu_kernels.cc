#include "core/nn/cpu_kernels.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>

#include "core/base/check.h"
#include "core/nn/cpu_loops.h"

namespace denoise::nn::cpu {
namespace {

DENOISE_VECTORIZED
void SiluLoop(const float* x, int64_t count, float* y) {
  for (int64_t i = 0; i < count; ++i) y[i] = SiluOf(x[i]);
}

// y += x W for one row x and a slice of W's columns, four rows of W at once.
DENOISE_VECTORIZED
void LinearLoop(const float* x, const float* weight, int64_t in, int64_t stride, int64_t columns,
                float* __restrict y) {
  const int64_t quads = in / 4 * 4;
  for (int64_t k = 0; k < quads; k += 4) {
    const float *w0 = weight + k * stride, *w1 = w0 + stride, *w2 = w1 + stride, *w3 = w2 + stride;
    const float x0 = x[k], x1 = x[k + 1], x2 = x[k + 2], x3 = x[k + 3];
    for (int64_t j = 0; j < columns; ++j) {
      y[j] += (x0 * w0[j] + x1 * w1[j]) + (x2 * w2[j] + x3 * w3[j]);
    }
  }
  for (int64_t k = quads; k < in; ++k) {
    for (int64_t j = 0; j < columns; ++j) y[j] += x[k] * weight[k * stride + j];
  }
}

bool WantsGradient(const at::Tensor& tensor) {
  return tensor.defined() && at::GradMode::is_enabled() && tensor.requires_grad();
}

}  // namespace

bool Serves(std::initializer_list<at::Tensor> tensors) {
  return std::all_of(tensors.begin(), tensors.end(), [](const at::Tensor& tensor) {
    if (!tensor.defined()) return true;
    return tensor.device().is_cpu() && tensor.scalar_type() == at::kFloat && !WantsGradient(tensor);
  });
}

bool Trains(std::initializer_list<at::Tensor> tensors) {
  const bool known = std::all_of(tensors.begin(), tensors.end(), [](const at::Tensor& tensor) {
    if (!tensor.defined()) return true;
    const at::ScalarType dtype = tensor.scalar_type();
    return tensor.device().is_cpu() && (dtype == at::kFloat || dtype == at::kBFloat16);
  });
  return known && std::any_of(tensors.begin(), tensors.end(), WantsGradient);
}

at::Tensor Linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  constexpr int64_t kColumns =
      128;  // of a task: the slice of W serves every row while it is in cache
  DENOISE_DCHECK(weight.is_contiguous() && x.size(1) == weight.size(0));
  const at::Tensor in = x.contiguous();
  const int64_t rows = x.size(0), size = weight.size(0), columns = weight.size(1);
  at::Tensor y = at::empty({rows, columns}, x.options());
  const float* source = in.data_ptr<float>();
  const float* w = weight.data_ptr<float>();
  const float* b = bias.data_ptr<float>();
  float* target = y.data_ptr<float>();
  ParallelFor((columns + kColumns - 1) / kColumns, 2, [&](int64_t begin, int64_t end) {
    for (int64_t j = begin * kColumns; j < std::min(end * kColumns, columns); j += kColumns) {
      const int64_t width = std::min(kColumns, columns - j);
      for (int64_t row = 0; row < rows; ++row) {
        float* y_row = std::copy_n(b + j, width, target + row * columns + j) - width;
        LinearLoop(source + row * size, w + j, size, columns, width, y_row);
      }
    }
  });
  return y;
}

at::Tensor Silu(const at::Tensor& x) {
  const at::Tensor in = x.contiguous();
  at::Tensor out = at::empty_like(in);
  const float* source = in.data_ptr<float>();
  float* target = out.data_ptr<float>();
  ParallelFor(in.numel(), kTaskElements, [&](int64_t begin, int64_t end) {
    SiluLoop(source + begin, end - begin, target + begin);
  });
  return out;
}

}  // namespace denoise::nn::cpu
