// The transformer over an image's pixels and a text of latent diffusion (Rombach et al. 2022,
// appendix E.2.1).
//
// Names of layers are those of checkpoints, so that what is said about a layer elsewhere, as an
// adapter does, finds it: attn1 attends to the pixels, attn2 to the text.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "core/nn/layers.h"
#include "core/nn/weight_source.h"

namespace denoise::nn {

// The texts of consecutive rows that have the same number of tokens.
struct TextRun {
  int64_t first = 0;  // row
  at::Tensor states;  // [rows, tokens, text_width]
};
// The texts of all rows of a batch, in order. No run holds padding.
using TextStates = std::vector<TextRun>;

// Splits states [B, tokens, text_width] into runs. `lengths` are the rows' numbers of tokens, or
// empty if all are used.
TextStates SplitTexts(const at::Tensor& states, const std::vector<int64_t>& lengths);

// Attention with several heads, over the tokens themselves or over a text.
struct TokenAttention {
  TokenLinear to_q;
  TokenLinear to_k;
  TokenLinear to_v;
  TokenLinear to_out;
  int64_t heads = 1;
  bool batch_invariant = true;

  struct Shape {
    int64_t channels;
    int64_t source_width;  // of what is attended to
    int64_t heads;
  };
  static TokenAttention Load(const WeightScope& scope, const Shape& shape, KernelOptions options);
  // x [B, tokens, channels] -> the same shape.
  at::Tensor OverItself(const at::Tensor& x, const RowAdapters& adapters = {}) const;
  at::Tensor OverText(const at::Tensor& x, const TextStates& text,
                      const RowAdapters& adapters = {}) const;

 private:
  // softmax(q k^T / sqrt(head width)) v: q [B, N, C], k and v [B, T, C] -> [B, N, C]. Mix is
  // batch-invariant, MixRows is not.
  at::Tensor Mix(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) const;
  at::Tensor MixRows(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) const;
};

// Attention, attention to the text, and a gated feed-forward network, each around a residual.
struct TransformerBlock {
  LayerNorm norm1;
  TokenAttention attn1;
  LayerNorm norm2;
  TokenAttention attn2;
  LayerNorm norm3;
  TokenLinear ff_in;  // to 8 times the channels, for GatedGelu
  TokenLinear ff_out;
  bool only_text = false;  // attn1 attends to the text, too

  struct Shape {
    int64_t channels;
    int64_t heads;
    int64_t text_width;
    bool only_text = false;
  };
  static TransformerBlock Load(const WeightScope& scope, const Shape& shape, KernelOptions options);
  // x [B, tokens, channels] -> the same shape.
  at::Tensor operator()(at::Tensor x, const TextStates& text,
                        const RowAdapters& adapters = {}) const;
};

struct Transformer2D {
  GroupNorm norm;
  TokenLinear proj_in;
  std::vector<TransformerBlock> blocks;
  TokenLinear proj_out;

  struct Shape {
    TransformerBlock::Shape block;
    int64_t blocks;
    int64_t norm_groups;
    bool linear_projection = false;  // else the projections are stored as 1x1 convolutions
  };
  static Transformer2D Load(const WeightScope& scope, const Shape& shape, KernelOptions options);
  // x [B, channels, H, W] -> the same shape.
  at::Tensor operator()(const at::Tensor& x, const TextStates& text,
                        const RowAdapters& adapters = {}) const;
};

}  // namespace denoise::nn
