#include "core/train/step_draws.h"

#include <ATen/ops/stack.h>

#include <vector>

#include "core/diffusion/noise_source.h"
#include "core/train/step_random.h"

namespace denoise {

at::Tensor DrawNoise(uint64_t seed, int64_t step, int64_t first, at::IntArrayRef shape) {
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
