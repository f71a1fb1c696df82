#include "core/nn/embeddings.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/log.h>
#include <ATen/ops/round.h>
#include <ATen/ops/sin.h>

#include <cmath>
#include <vector>

namespace denoise::nn {
namespace {

// exp(-log(10000) i / (half - freq_shift)), rounded like in the library.
at::Tensor PositionalFrequencies(int64_t half, double freq_shift, at::Device device) {
  const at::Tensor exponents =
      at::arange(half, at::TensorOptions().dtype(at::kFloat)) * -std::log(10000.0);
  return at::exp(exponents / (static_cast<double>(half) - freq_shift)).to(device);
}

}  // namespace

int64_t TimeProjection::Dim(const UNet2DConfig& config) {
  const int64_t channels = config.block_out_channels[0];
  return config.time_embedding_type == TimeEmbeddingType::kFourier ? 2 * channels : channels;
}

TimeProjection TimeProjection::Load(const WeightScope& root, const UNet2DConfig& config,
                                    at::Device device, KernelOptions options) {
  const int64_t channels = config.block_out_channels[0];
  TimeProjection projection;
  projection.type = config.time_embedding_type;
  projection.batch_invariant = options.batch_invariant;
  switch (projection.type) {
    case TimeEmbeddingType::kPositional:
      return Positional(channels, config.freq_shift, config.flip_sin_to_cos, device, options);
    case TimeEmbeddingType::kFourier: {
      // The library ignores flip_sin_to_cos here. Old files store the weight under two names.
      const at::Tensor weight =
          (root / "time_proj").Take("weight", {channels}, Initial::Normal(16));
      root.source.Ignore(root.prefix + "time_proj.W");
      // Drawn once and never trained, so no gradient flows there.
      if (weight.defined()) projection.frequencies = weight.detach().to(at::kFloat) * (2 * M_PI);
      break;
    }
    case TimeEmbeddingType::kLearned:
      projection.table =
          (root / "time_proj")
              .Take("weight", {config.num_train_timesteps, channels}, Initial::Normal(1));
      break;
  }
  return projection;
}

TimeProjection TimeProjection::Positional(int64_t dim, double freq_shift, bool cosines_first,
                                          at::Device device, KernelOptions options) {
  return {.type = TimeEmbeddingType::kPositional,
          .frequencies = PositionalFrequencies(dim / 2, freq_shift, device),
          .table = {},
          .cosines_first = cosines_first,
          .pad_one = dim % 2 == 1,
          .batch_invariant = options.batch_invariant};
}

at::Tensor TimeProjection::operator()(const at::Tensor& numbers) const {
  if (type == TimeEmbeddingType::kLearned) {
    const at::Tensor index = at::clamp(at::round(numbers), 0, table.size(0) - 1);
    return at::embedding(table, index.to(at::kLong));
  }
  const auto project = [this](const at::Tensor& t) {
    const at::Tensor angle = (type == TimeEmbeddingType::kFourier ? at::log(t) : t).unsqueeze(1) *
                             frequencies.unsqueeze(0);
    const at::Tensor sines = at::sin(angle), cosines = at::cos(angle);
    const at::Tensor both =
        cosines_first ? at::cat({cosines, sines}, 1) : at::cat({sines, cosines}, 1);
    return pad_one ? at::constant_pad_nd(both, {0, 1}) : both;
  };
  return batch_invariant && numbers.device().is_cpu() ? RowWise(numbers, project)
                                                      : project(numbers);
}

EmbeddingMlp EmbeddingMlp::Load(const WeightScope& scope, int64_t in, int64_t out,
                                KernelOptions options) {
  return {Linear::Load(scope / "linear_1", in, out, options),
          Linear::Load(scope / "linear_2", out, out, options), options};
}

at::Tensor EmbeddingMlp::operator()(const at::Tensor& x, const RowAdapters& adapters) const {
  return linear_2(Activate(activation, linear_1(x, adapters), options), adapters);
}

Conditioner Conditioner::Load(const WeightScope& root, const UNet2DConfig& config,
                              at::Device device, at::ScalarType dtype, KernelOptions options) {
  const int64_t in = TimeProjection::Dim(config), out = config.time_embedding_dim;
  Conditioner conditioner;
  conditioner.time_projection = TimeProjection::Load(root, config, device, options);
  conditioner.time_embedding = EmbeddingMlp::Load(root / "time_embedding", in, out, options);
  conditioner.class_embedding = config.class_embedding;
  conditioner.dtype = dtype;
  if (config.class_embedding == ClassEmbedding::kTable) {
    conditioner.class_table =
        (root / "class_embedding")
            .Take("weight", {config.num_class_embeds, out}, Initial::Normal(1));
  } else if (config.class_embedding == ClassEmbedding::kTimestep) {
    conditioner.class_mlp = EmbeddingMlp::Load(root / "class_embedding", in, out, options);
  }
  return conditioner;
}

at::Tensor Conditioner::operator()(const at::Tensor& timesteps,
                                   const at::Tensor& class_labels) const {
  const at::Tensor time = time_embedding(time_projection(timesteps).to(dtype));
  return class_embedding == ClassEmbedding::kNone ? time : time + EmbedClass(class_labels);
}

at::Tensor Conditioner::EmbedClass(const at::Tensor& class_labels) const {
  switch (class_embedding) {
    case ClassEmbedding::kNone:
    case ClassEmbedding::kTable:
      return at::embedding(class_table, class_labels);
    case ClassEmbedding::kTimestep:
      return class_mlp(time_projection(class_labels.to(at::kFloat)).to(dtype));
    case ClassEmbedding::kIdentity:
      return class_labels.to(dtype).unsqueeze(1);
  }
  return {};
}

}  // namespace denoise::nn
