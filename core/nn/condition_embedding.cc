#include "core/nn/condition_embedding.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/exp.h>

#include <cmath>

namespace denoise::nn {
namespace {

// exp(-log(10000) / (half - 1) i), rounded like in the library, which differs from the rounding of
// a timestep's frequencies: angles reach thousands of radians here.
at::Tensor GuidanceFrequencies(int64_t half, at::Device device) {
  const float step = std::log(10000.0F) / static_cast<float>(half - 1);
  return at::exp(at::arange(half, at::TensorOptions().dtype(at::kFloat)) * -step).to(device);
}

}  // namespace

GuidanceEmbedding GuidanceEmbedding::Load(const WeightScope& scope, int64_t dim, int64_t out,
                                          at::Device device, KernelOptions options) {
  GuidanceEmbedding guidance{
      .projection = TimeProjection::Positional(dim, 1, /*cosines_first=*/false, device, options),
      .linear = Linear::Load(scope, dim, out, options, Bias::kNone)};
  guidance.projection.frequencies = GuidanceFrequencies(dim / 2, device);
  return guidance;
}

at::Tensor GuidanceEmbedding::operator()(const at::Tensor& scales, at::ScalarType dtype,
                                         const RowAdapters& adapters) const {
  return linear(projection((scales - 1) * 1000).to(dtype), adapters);
}

TextTimeEmbedding TextTimeEmbedding::Load(const WeightScope& root,
                                          const UNet2DConditionConfig& config, at::Device device,
                                          KernelOptions options) {
  return {.projection = TimeProjection::Positional(config.text_time->number_dim, config.freq_shift,
                                                   config.flip_sin_to_cos, device, options),
          .mlp = EmbeddingMlp::Load(root / "add_embedding", config.text_time->input_dim,
                                    config.time_embedding_dim, options)};
}

at::Tensor TextTimeEmbedding::operator()(const at::Tensor& pooled_text, const at::Tensor& time_ids,
                                         at::ScalarType dtype, const RowAdapters& adapters) const {
  const at::Tensor numbers = projection(time_ids.flatten()).view({time_ids.size(0), -1});
  return mlp(at::cat({pooled_text, numbers}, 1).to(dtype), adapters);
}

ConditionEmbedding ConditionEmbedding::Load(const WeightScope& root,
                                            const UNet2DConditionConfig& config, at::Device device,
                                            at::ScalarType dtype, KernelOptions options) {
  const int64_t in = config.levels[0].channels, out = config.time_embedding_dim;
  const auto mlp = [&](const char* name) {
    EmbeddingMlp layers = EmbeddingMlp::Load(root / name, in, out, options);
    layers.activation = config.act_fn;
    return layers;
  };
  ConditionEmbedding embedding;
  embedding.dtype = dtype;
  embedding.time_projection =
      TimeProjection::Positional(in, config.freq_shift, config.flip_sin_to_cos, device, options);
  embedding.time_embedding = mlp("time_embedding");
  if (config.time_cond_proj_dim) {
    embedding.guidance = GuidanceEmbedding::Load(root / "time_embedding" / "cond_proj",
                                                 *config.time_cond_proj_dim, in, device, options);
  }
  if (config.class_embedding == ClassEmbedding::kTable) {
    embedding.class_table = (root / "class_embedding")
                                .Take("weight", {config.num_class_embeds, out}, Initial::Normal(1));
  } else if (config.class_embedding == ClassEmbedding::kTimestep) {
    embedding.class_mlp = mlp("class_embedding");
  }
  if (config.text_time) {
    embedding.text_time = TextTimeEmbedding::Load(root, config, device, options);
  }
  return embedding;
}

at::Tensor ConditionEmbedding::operator()(const at::Tensor& timesteps, const Conditions& conditions,
                                          const RowAdapters& adapters) const {
  at::Tensor projected = time_projection(timesteps).to(dtype);
  if (guidance) projected = projected + (*guidance)(conditions.guidance_scales, dtype, adapters);
  at::Tensor sum = time_embedding(projected, adapters);
  if (class_table.defined()) sum = sum + at::embedding(class_table, conditions.class_labels);
  if (class_mlp) {
    const at::Tensor numbers = conditions.class_labels.to(at::kFloat);
    sum = sum + (*class_mlp)(time_projection(numbers).to(dtype), adapters);
  }
  if (text_time) {
    sum = sum + (*text_time)(conditions.pooled_text, conditions.time_ids, dtype, adapters);
  }
  return sum;
}

}  // namespace denoise::nn
