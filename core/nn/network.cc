#include "core/nn/network.h"

#include <ATen/ops/full.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

namespace denoise {
namespace {

constexpr int64_t kProbeSide = 16;

}  // namespace

NetworkInput ProbeInput(const NetworkSpec& spec, at::Device device) {
  SampleShape shape = spec.sample;
  if (spec.size_multiple > 0) {
    const int64_t side =
        (kProbeSide + spec.size_multiple - 1) / spec.size_multiple * spec.size_multiple;
    shape.height = std::min(shape.height, side);
    shape.width = std::min(shape.width, side);
  }
  return ProbeInput(spec, device, shape, /*rows=*/1, /*tokens=*/1);
}

NetworkInput ProbeInput(const NetworkSpec& spec, at::Device device, const SampleShape& shape,
                        int64_t rows, int64_t tokens) {
  const auto floats = at::TensorOptions().dtype(at::kFloat).device(device);
  const auto [channels, height, width] = shape;
  NetworkInput input{.x = at::linspace(-1, 1, shape.numel(), floats)
                              .view({1, channels, height, width})
                              .repeat({rows, 1, 1, 1}),
                     .timesteps = at::full({rows}, 1, floats)};
  Conditions& told = input.conditions;
  if (spec.num_class_embeds > 0) told.class_labels = at::zeros({rows}, floats.dtype(at::kLong));
  if (spec.text_width > 0) told.text_states = at::zeros({rows, tokens, spec.text_width}, floats);
  if (spec.pooled_text_width > 0) {
    told.pooled_text = at::zeros({rows, spec.pooled_text_width}, floats);
  }
  if (spec.num_time_ids > 0) told.time_ids = at::zeros({rows, spec.num_time_ids}, floats);
  if (spec.guidance_embedding) told.guidance_scales = at::zeros({rows}, floats);
  if (spec.condition_channels > 0) {
    told.channels = at::zeros({rows, spec.condition_channels, height, width}, floats);
  }
  return input;
}

}  // namespace denoise
