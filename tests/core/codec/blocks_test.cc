#include "core/codec/blocks.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <string>

#include "core/codec/models.h"
#include "core/nn/weight_initializer.h"
#include "core/nn/weight_reader.h"
#include "tests/core/codec/test_codecs.h"

namespace denoise::codec {
namespace {

PixelAttention RandomAttention(int64_t channels) {
  const EncoderDecoderConfig config = {.norm_num_groups = 2};
  nn::WeightInitializer initializer;
  PixelAttention::Load({initializer, ""}, config, channels, {});
  const StateDict weights = initializer.Make(1);
  nn::WeightReader reader(weights, at::kCPU, at::kFloat);
  return PixelAttention::Load({reader, ""}, config, channels, {});
}

// In float64 and all at once.
at::Tensor PlainAttention(const PixelAttention& attention, const at::Tensor& x) {
  const nn::Attention& layers = attention.layers;
  const int64_t channels = x.size(1), pixels = x.size(2) * x.size(3);
  const at::Tensor flat =
      (*layers.norm)(x).to(at::kDouble).reshape({channels, pixels}).t();  // [pixels, channels]
  const at::Tensor projected =
      flat.mm(layers.query_key_value.weight.to(at::kDouble).view({3 * channels, channels}).t()) +
      layers.query_key_value.bias;
  const auto part = [&](int64_t i) { return projected.narrow(1, i * channels, channels); };
  const at::Tensor scores = part(0).mm(part(1).t()) / std::sqrt(static_cast<double>(channels));
  const at::Tensor mixed = at::softmax(scores, 1).mm(part(2));
  const at::Tensor output =
      mixed.mm(layers.output.weight.to(at::kDouble).view({channels, channels}).t()) +
      layers.output.bias;
  return output.t().view(x.sizes()) + x;
}

int64_t MemoryBytes(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    int64_t kilobytes = 0;
    if (word == key && status >> kilobytes) return kilobytes * 1024;
  }
  return 0;
}

TEST(PixelAttention, IsTheSameInPieces) {
  const c10::InferenceMode inference;
  const PixelAttention attention = RandomAttention(8);
  const at::Tensor x = Normal({1, 8, 71, 73}, 2) * 3;  // 5183^2 scores are more than one piece
  const at::Tensor expected = PlainAttention(attention, x);
  EXPECT_LE((attention(x) - expected).abs().max().item<double>(), 1e-5);
}

TEST(PixelAttention, OverManyPixelsDoesNotHoldAllScores) {
  const c10::InferenceMode inference;
  const PixelAttention attention = RandomAttention(2);
  const at::Tensor x = Normal({1, 2, 128, 128}, 2);
  std::ofstream("/proc/self/clear_refs") << 5;  // resets the peak
  const int64_t before = MemoryBytes("VmRSS:");
  ASSERT_GT(before, 0);
  EXPECT_TRUE(attention(x).isfinite().all().item<bool>());
  const int64_t all_scores = int64_t{16384} * 16384 * 4;
  EXPECT_LT(MemoryBytes("VmHWM:") - before, all_scores * 3 / 4);
}

TEST(NearestCodes, OfAHugeBookAreFoundInPieces) {
  const at::Tensor codebook = Normal({1 << 20, 4}, 1), latents = Normal({2, 4, 5, 3}, 2);
  const at::Tensor codes = NearestCodes(latents, codebook);
  ASSERT_EQ(codes.sizes(), (std::vector<int64_t>{2, 5, 3}));
  const at::Tensor pixels = latents.permute({0, 2, 3, 1}).reshape({-1, 4});
  for (int64_t i = 0; i < pixels.size(0); ++i) {
    const at::Tensor distances = (codebook - pixels[i]).square().sum(1);
    EXPECT_NEAR(distances[codes.flatten()[i].item<int64_t>()].item<double>(),
                distances.min().item<double>(), 1e-5);
  }
}

}  // namespace
}  // namespace denoise::codec
