#include "core/nn/transformer2d.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include <cstddef>

namespace denoise::nn {
namespace {

constexpr double kGroupNormEps = 1e-6;
constexpr int64_t kFeedForwardFactor = 4;

// Row `row` of x, as memory that is aligned like a tensor of its own: a matrix product adds in an
// order that depends on the alignment.
at::Tensor AlignedRow(const at::Tensor& x, int64_t row) {
  constexpr size_t kAlignment = 64;  // of LibTorch's allocations
  const at::Tensor narrowed = x.narrow(0, row, 1);
  const bool aligned = reinterpret_cast<uintptr_t>(narrowed.const_data_ptr()) % kAlignment == 0;
  return aligned ? narrowed : narrowed.clone();
}

}  // namespace

TextStates SplitTexts(const at::Tensor& states, const std::vector<int64_t>& lengths) {
  if (lengths.empty()) return {{.first = 0, .states = states}};
  TextStates runs;
  const int64_t rows = static_cast<int64_t>(lengths.size());
  for (int64_t first = 0, end = 0; first < rows; first = end) {
    const int64_t tokens = lengths[static_cast<size_t>(first)];
    while (end < rows && lengths[static_cast<size_t>(end)] == tokens) ++end;
    runs.push_back({first, states.narrow(0, first, end - first).narrow(1, 0, tokens).contiguous()});
  }
  return runs;
}

TokenAttention TokenAttention::Load(const WeightScope& scope, const Shape& shape,
                                    KernelOptions options) {
  const auto project = [&](const char* name, int64_t in) {
    return TokenLinear::Load(scope / name, {.in = in, .out = shape.channels, .bias = Bias::kNone},
                             options);
  };
  return {.to_q = project("to_q", shape.channels),
          .to_k = project("to_k", shape.source_width),
          .to_v = project("to_v", shape.source_width),
          .to_out = TokenLinear::Load(scope / "to_out" / 0,
                                      {.in = shape.channels, .out = shape.channels}, options),
          .heads = shape.heads,
          .batch_invariant = options.batch_invariant};
}

at::Tensor TokenAttention::OverItself(const at::Tensor& x, const RowAdapters& adapters) const {
  return to_out(Mix(to_q(x, adapters), to_k(x, adapters), to_v(x, adapters)), adapters);
}

at::Tensor TokenAttention::OverText(const at::Tensor& x, const TextStates& text,
                                    const RowAdapters& adapters) const {
  const at::Tensor q = to_q(x, adapters);
  std::vector<at::Tensor> mixed;
  for (const TextRun& run : text) {
    const int64_t count = run.states.size(0);
    const RowAdapters own = adapters.Narrow(run.first, count);
    mixed.push_back(
        Mix(q.narrow(0, run.first, count), to_k(run.states, own), to_v(run.states, own)));
  }
  return to_out(mixed.size() == 1 ? mixed.front() : at::cat(mixed), adapters);
}

at::Tensor TokenAttention::Mix(const at::Tensor& q, const at::Tensor& k,
                               const at::Tensor& v) const {
  if (!batch_invariant || !q.device().is_cpu()) return MixRows(q, k, v);
  std::vector<at::Tensor> rows;
  for (int64_t i = 0; i < q.size(0); ++i) {
    rows.push_back(MixRows(AlignedRow(q, i), AlignedRow(k, i), AlignedRow(v, i)));
  }
  return rows.size() == 1 ? rows.front() : at::cat(rows);
}

at::Tensor TokenAttention::MixRows(const at::Tensor& q, const at::Tensor& k,
                                   const at::Tensor& v) const {
  const auto by_head = [&](const at::Tensor& x) {
    return x.unflatten(2, {heads, x.size(2) / heads}).transpose(1, 2);
  };
  // LibTorch's kernels hold a block of the matrix of weights at a time, where they can.
  return at::scaled_dot_product_attention(by_head(q), by_head(k), by_head(v))
      .transpose(1, 2)
      .flatten(2);
}

TransformerBlock TransformerBlock::Load(const WeightScope& scope, const Shape& shape,
                                        KernelOptions options) {
  const int64_t channels = shape.channels, inner = kFeedForwardFactor * channels;
  const auto attention = [&](const char* name, int64_t source_width) {
    return TokenAttention::Load(
        scope / name, {.channels = channels, .source_width = source_width, .heads = shape.heads},
        options);
  };
  const WeightScope feed_forward = scope / "ff" / "net";
  return {.norm1 = LayerNorm::Load(scope / "norm1", channels),
          .attn1 = attention("attn1", shape.only_text ? shape.text_width : channels),
          .norm2 = LayerNorm::Load(scope / "norm2", channels),
          .attn2 = attention("attn2", shape.text_width),
          .norm3 = LayerNorm::Load(scope / "norm3", channels),
          .ff_in = TokenLinear::Load(feed_forward / 0 / "proj", {.in = channels, .out = 2 * inner},
                                     options),
          .ff_out = TokenLinear::Load(feed_forward / 2, {.in = inner, .out = channels}, options),
          .only_text = shape.only_text};
}

at::Tensor TransformerBlock::operator()(at::Tensor x, const TextStates& text,
                                        const RowAdapters& adapters) const {
  const at::Tensor hidden = norm1(x);
  x = (only_text ? attn1.OverText(hidden, text, adapters) : attn1.OverItself(hidden, adapters)) + x;
  x = attn2.OverText(norm2(x), text, adapters) + x;
  return ff_out(GatedGelu(ff_in(norm3(x), adapters)), adapters) + x;
}

Transformer2D Transformer2D::Load(const WeightScope& scope, const Shape& shape,
                                  KernelOptions options) {
  const int64_t channels = shape.block.channels;
  const TokenLinear::Shape projection{.in = channels,
                                      .out = channels,
                                      .bias = Bias::kAdded,
                                      .stored_as_convolution = !shape.linear_projection};
  Transformer2D transformer{
      .norm = GroupNorm::Load(scope / "norm", channels, shape.norm_groups, kGroupNormEps, options),
      .proj_in = TokenLinear::Load(scope / "proj_in", projection, options),
      .blocks = {},
      .proj_out = TokenLinear::Load(scope / "proj_out", projection, options)};
  for (size_t i = 0; i < static_cast<size_t>(shape.blocks); ++i) {
    transformer.blocks.push_back(
        TransformerBlock::Load(scope / "transformer_blocks" / i, shape.block, options));
  }
  return transformer;
}

at::Tensor Transformer2D::operator()(const at::Tensor& x, const TextStates& text,
                                     const RowAdapters& adapters) const {
  // Channels-last images are tokens already.
  at::Tensor tokens = proj_in(norm(x).permute({0, 2, 3, 1}).flatten(1, 2), adapters);
  for (const TransformerBlock& block : blocks) tokens = block(tokens, text, adapters);
  const at::Tensor image =
      proj_out(tokens, adapters).unflatten(1, {x.size(2), x.size(3)}).permute({0, 3, 1, 2});
  return image.contiguous(PreferredMemoryFormat(x.device())) + x;
}

}  // namespace denoise::nn
