// The layers over tokens against LibTorch's operators in double precision.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <array>

#include "core/nn/cpu_tokens.h"
#include "core/nn/layers.h"
#include "core/nn/onednn.h"
#include "core/nn/transformer2d.h"
#include "core/nn/weight_reader.h"

namespace denoise::nn {
namespace {

at::Tensor Double(const at::Tensor& x) { return x.to(at::kDouble); }

TEST(LayerNormKernel, AgreesWithTheOperator) {
  const c10::InferenceMode inference;
  for (const int64_t channels : {1, 7, 16, 40, 1283}) {
    // A mean far from zero, which a naive variance would drown in.
    const at::Tensor x = at::randn({2, 5, channels}) * 3 + 50;
    const at::Tensor weight = at::randn({channels}), bias = at::randn({channels});
    const at::Tensor expected =
        at::layer_norm(Double(x), {channels}, Double(weight), Double(bias), 1e-5);
    EXPECT_TRUE(at::allclose(Double(cpu::LayerNorm(x, weight, bias, 1e-5)), expected, 1e-4, 1e-4))
        << channels;
  }
}

TEST(LayerNormKernel, UsesItsEpsilon) {
  const c10::InferenceMode inference;
  const at::Tensor x = at::randn({1, 1, 16}) * 1e-3, one = at::ones({16}), zero = at::zeros({16});
  for (const double eps : {1e-6, 1e-5}) {
    const at::Tensor expected = at::layer_norm(Double(x), {16}, Double(one), Double(zero), eps);
    EXPECT_TRUE(at::allclose(Double(cpu::LayerNorm(x, one, zero, eps)), expected, 1e-5, 1e-6));
  }
}

TEST(GatedGeluKernel, IsAccurateOverTheWholeRange) {
  const c10::InferenceMode inference;
  const at::Tensor gate = at::linspace(-12, 12, 100'001), ones = at::ones_like(gate);
  const at::Tensor x = at::cat({ones, gate}).unsqueeze(0);
  const at::Tensor expected = at::gelu(Double(gate));
  const at::Tensor error = (Double(cpu::GatedGelu(x))[0] - expected).abs();
  EXPECT_LT((error / expected.abs().clamp_min(1)).max().item<double>(), 3e-7);
}

TEST(GatedGeluKernel, MultipliesTheFirstHalf) {
  const c10::InferenceMode inference;
  const at::Tensor x = at::randn({3, 4, 22});
  const at::Tensor expected = x.narrow(2, 0, 11) * at::gelu(x.narrow(2, 11, 11));
  EXPECT_TRUE(at::allclose(cpu::GatedGelu(x), expected, 1e-5, 1e-6));
}

TEST(TokenKernels, DependOnNothingButTheToken) {
  const c10::InferenceMode inference;
  const at::Tensor x = at::randn({1, 300, 38}), weight = at::randn({38}), bias = at::randn({38});
  const at::Tensor norms = cpu::LayerNorm(x, weight, bias, 1e-5), gated = cpu::GatedGelu(x);
  for (const int64_t first : {0, 1, 7, 200}) {
    for (const int64_t count : {1, 2, 5, 99}) {
      const at::Tensor part = x.narrow(1, first, count).clone();
      EXPECT_TRUE(
          at::equal(cpu::LayerNorm(part, weight, bias, 1e-5), norms.narrow(1, first, count)));
      EXPECT_TRUE(at::equal(cpu::GatedGelu(part), gated.narrow(1, first, count)));
    }
  }
}

TEST(TokenKernels, DoNotDependOnThreads) {
  const c10::InferenceMode inference;
  const at::Tensor x = at::randn({2, 1000, 38}), weight = at::randn({38}), bias = at::randn({38});
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor norms = cpu::LayerNorm(x, weight, bias, 1e-5), gated = cpu::GatedGelu(x);
  at::set_num_threads(2);
  EXPECT_TRUE(at::equal(cpu::LayerNorm(x, weight, bias, 1e-5), norms));
  EXPECT_TRUE(at::equal(cpu::GatedGelu(x), gated));
  at::set_num_threads(threads);
}

class Packed : public testing::Test {
 protected:
  void SetUp() override {
    if (!OneDnnServes(at::kCPU, at::kFloat)) GTEST_SKIP() << "LibTorch has no oneDNN here";
  }
  c10::InferenceMode inference_;
};

TEST_F(Packed, WeightsKeepTheirValues) {
  for (const auto& [out, in, kernel] :
       {std::array<int64_t, 3>{1, 1, 1}, {10, 7, 3}, {64, 48, 3}, {4, 320, 3}}) {
    const at::Tensor weight = at::randn({out, in, kernel, kernel});
    const at::Tensor packed = onednn::PackConvolution(weight, 1, kernel / 2);
    EXPECT_TRUE(packed.is_mkldnn());
    EXPECT_EQ(packed.sizes(), weight.sizes());
    EXPECT_TRUE(at::equal(packed.to_dense(), weight));
    const at::Tensor matrix = weight.flatten(1).contiguous();
    EXPECT_TRUE(at::equal(onednn::PackLinear(matrix).to_dense().flatten(1), matrix));
  }
}

TEST_F(Packed, ConvolutionsAgreeWithTheOperator) {
  for (const int64_t stride : {1, 2}) {
    for (const int64_t kernel : {1, 3, 5}) {
      const at::Tensor x = at::randn({2, 10, 9, 13}), bias = at::randn({6});
      const at::Tensor weight = at::randn({6, 10, kernel, kernel});
      const Conv2d layer = Conv2d::Make(
          weight, bias,
          {.in = 10, .out = 6, .kernel = kernel, .stride = stride, .padding = kernel / 2},
          {.pack_weights = true});
      EXPECT_TRUE(layer.weight.is_mkldnn());
      const at::Tensor expected =
          at::conv2d(Double(x), Double(weight), Double(bias), stride, kernel / 2);
      EXPECT_TRUE(at::allclose(Double(layer(x)), expected, 1e-4, 1e-4));
    }
  }
}

// A scope that has one layer's weights.
StateDict LayerWeights(int64_t out, int64_t in) {
  return {{"weight", at::randn({out, in})}, {"bias", at::randn({out})}};
}

TEST_F(Packed, LinearLayersAgreeWithTheOperatorWhateverTheNumberOfTokens) {
  const StateDict weights = LayerWeights(70, 37);
  WeightReader reader(weights, at::kCPU, at::kFloat);
  const auto layer = TokenLinear::Load({reader, ""}, {.in = 37, .out = 70}, {.pack_weights = true});
  ASSERT_TRUE(layer.weight.is_mkldnn());
  for (const int64_t tokens : {1, 2, 15, 77, 200, 3000}) {
    const at::Tensor x = at::randn({2, tokens, 37});
    const at::Tensor expected =
        at::linear(Double(x), Double(weights.at("weight")), Double(weights.at("bias")));
    EXPECT_TRUE(at::allclose(Double(layer(x)), expected, 1e-4, 1e-4)) << tokens;
  }
}

TEST_F(Packed, TheReaderHoldsOnlyThePackedWeight) {
  const StateDict weights = LayerWeights(8, 8);
  WeightReader reader(weights, at::kCPU, at::kFloat);
  const auto layer = TokenLinear::Load({reader, ""}, {.in = 8, .out = 8}, {.pack_weights = true});
  EXPECT_TRUE(reader.taken().at("weight").is_same(layer.weight));
  // And unpacks it for the next one.
  WeightReader again(reader.taken(), at::kCPU, at::kDouble);
  EXPECT_TRUE(at::equal(again.Take({"weight"}, {8, 8}, Initial::Constant(0)),
                        Double(weights.at("weight"))));
}

TEST(SplitTexts, RowsOfOneLengthShareARunWithoutPadding) {
  const at::Tensor states = at::randn({4, 9, 3});
  const TextStates whole = SplitTexts(states, {});
  ASSERT_EQ(whole.size(), 1);
  EXPECT_TRUE(at::equal(whole[0].states, states));
  const TextStates runs = SplitTexts(states, {9, 4, 4, 9});
  ASSERT_EQ(runs.size(), 3);
  EXPECT_EQ(runs[1].first, 1);
  EXPECT_TRUE(at::equal(runs[1].states, states.narrow(0, 1, 2).narrow(1, 0, 4)));
  EXPECT_EQ(runs[2].first, 3);
  EXPECT_EQ(runs[2].states.size(1), 9);
}

}  // namespace
}  // namespace denoise::nn
