// Turns what a row of a UNet2DCondition is told, except its text's tokens, into one vector.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "core/nn/condition.h"
#include "core/nn/embeddings.h"
#include "core/nn/layers.h"
#include "core/nn/unet2d_condition_config.h"
#include "core/nn/weight_source.h"

namespace denoise::nn {

// A guidance scale that was distilled into the network (Meng et al. 2023), added to the time's
// projection.
struct GuidanceEmbedding {
  TimeProjection projection;
  Linear linear;

  static GuidanceEmbedding Load(const WeightScope& scope, int64_t dim, int64_t out,
                                at::Device device, KernelOptions options);
  // scales [B] float32 -> [B, out].
  at::Tensor operator()(const at::Tensor& scales, at::ScalarType dtype,
                        const RowAdapters& adapters) const;
};

// The pooled text followed by the projections of some numbers (Podell et al. 2023).
struct TextTimeEmbedding {
  TimeProjection projection;
  EmbeddingMlp mlp;

  static TextTimeEmbedding Load(const WeightScope& root, const UNet2DConditionConfig& config,
                                at::Device device, KernelOptions options);
  // pooled_text [B, W], time_ids [B, n], both float32 -> [B, time_embedding_dim].
  at::Tensor operator()(const at::Tensor& pooled_text, const at::Tensor& time_ids,
                        at::ScalarType dtype, const RowAdapters& adapters) const;
};

// The sum of the embeddings of the time and of everything else that the network takes.
struct ConditionEmbedding {
  TimeProjection time_projection;
  std::optional<GuidanceEmbedding> guidance;
  EmbeddingMlp time_embedding;
  at::Tensor class_table;  // [num_class_embeds, time_embedding_dim]; kTable only
  std::optional<EmbeddingMlp> class_mlp;
  std::optional<TextTimeEmbedding> text_time;
  at::ScalarType dtype = at::kFloat;

  static ConditionEmbedding Load(const WeightScope& root, const UNet2DConditionConfig& config,
                                 at::Device device, at::ScalarType dtype, KernelOptions options);
  // timesteps [B] float32 -> [B, time_embedding_dim].
  at::Tensor operator()(const at::Tensor& timesteps, const Conditions& conditions,
                        const RowAdapters& adapters) const;
};

}  // namespace denoise::nn
