// Our kernels against LibTorch's operators.
#include "core/nn/layers.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "core/nn/cpu_kernels.h"

namespace denoise::nn {
namespace {

struct NormCase {
  int64_t rows, channels, height, width, groups;
};

class GroupNormKernel : public testing::TestWithParam<NormCase> {
 protected:
  c10::InferenceMode inference_;
};

TEST_P(GroupNormKernel, AgreesWithTheOperatorsItReplaces) {
  const auto [rows, channels, height, width, groups] = GetParam();
  at::Generator generator = at::detail::createCPUGenerator(5);
  const auto randn = [&](std::vector<int64_t> shape) { return at::randn(shape, generator); };
  // A mean far from zero, which a naive variance would drown in.
  const at::Tensor x = randn({rows, channels, height, width}) * 3 + 50;
  const GroupNorm norm{randn({channels}), randn({channels}), groups, 1e-5, {}};
  const Modulation modulation{randn({rows, channels}), randn({rows, channels}),
                              randn({rows, channels})};
  const auto per_pixel = [](const at::Tensor& t) {
    return t.unsqueeze(2).unsqueeze(3).to(at::kDouble);
  };
  at::Tensor expected =
      at::group_norm(x.to(at::kDouble) + per_pixel(modulation.shift_before), groups,
                     norm.weight.to(at::kDouble), norm.bias.to(at::kDouble), norm.eps);
  expected = expected * (per_pixel(modulation.scale) + 1) + per_pixel(modulation.shift);
  for (const at::MemoryFormat format :
       {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast}) {
    const at::Tensor in = x.contiguous(format);
    EXPECT_TRUE(
        at::allclose(norm(in, std::nullopt, modulation).to(at::kDouble), expected, 1e-4, 1e-4));
    EXPECT_TRUE(at::allclose(norm(in, Activation::kSilu, modulation).to(at::kDouble),
                             at::silu(expected), 1e-4, 1e-4));
    EXPECT_TRUE(at::allclose(norm(in, Activation::kGelu, modulation).to(at::kDouble),
                             at::gelu(expected), 1e-4, 1e-4));
  }
}

TEST_P(GroupNormKernel, DoesNotDependOnThreads) {
  const auto [rows, channels, height, width, groups] = GetParam();
  const at::Tensor x = at::randn({rows, channels, height, width});
  const GroupNorm norm{at::randn({channels}), at::randn({channels}), groups, 1e-5, {}};
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor expected = norm(x, Activation::kSilu);
  at::set_num_threads(2);
  EXPECT_TRUE(at::equal(norm(x, Activation::kSilu), expected));
  at::set_num_threads(threads);
}

INSTANTIATE_TEST_SUITE_P(Shapes, GroupNormKernel,
                         testing::Values(NormCase{1, 1, 1, 1, 1}, NormCase{3, 10, 5, 7, 5},
                                         NormCase{2, 48, 32, 32, 16}, NormCase{5, 6, 1, 3, 3},
                                         NormCase{1, 9000, 2, 2, 9}, NormCase{2, 4, 100, 90, 4}));

TEST(SiluKernel, IsAccurateOverTheWholeRange) {
  const c10::InferenceMode inference;
  const at::Tensor x = at::linspace(-87, 87, 1'000'003);
  const at::Tensor expected = at::silu(x.to(at::kDouble));
  const at::Tensor error = (cpu::Silu(x).to(at::kDouble) - expected).abs() / expected.abs();
  // Zero is among the points, where the quotient is undefined and the value must be exact.
  EXPECT_LT(error.nan_to_num(0).max().item<double>(), 2.4e-7);
  EXPECT_EQ(cpu::Silu(at::zeros({1})).item<float>(), 0.0F);
}

TEST(SiluKernel, KeepsNanAndInfinity) {
  const c10::InferenceMode inference;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(cpu::Silu(at::full({1}, kInfinity)).item<float>(), kInfinity);
  EXPECT_TRUE(std::isnan(cpu::Silu(at::full({1}, NAN)).item<float>()));
  EXPECT_NEAR(cpu::Silu(at::full({1}, -1000.0)).item<float>(), 0, 1e-30);
  EXPECT_EQ(cpu::Silu(at::full({1}, 1000.0)).item<float>(), 1000.0F);
}

TEST(SiluKernel, DoesNotDependOnAnElementsPlace) {
  const c10::InferenceMode inference;
  const at::Tensor x = at::randn({1000});
  const at::Tensor expected = cpu::Silu(x);
  for (int64_t first = 0; first < 40; ++first) {
    for (int64_t count : {1, 2, 7, 15, 16, 17, 31, 33, 64, 100}) {
      EXPECT_TRUE(at::equal(cpu::Silu(x.narrow(0, first, count).clone()),
                            expected.narrow(0, first, count)));
    }
  }
}

TEST(LinearKernel, AgreesWithTheOperator) {
  const c10::InferenceMode inference;
  for (const auto& [rows, in, out] :
       {std::array<int64_t, 3>{1, 1, 1}, {3, 10, 7}, {24, 192, 300}, {2, 5, 128}, {5, 129, 129}}) {
    const at::Tensor x = at::randn({rows, in}), bias = at::randn({out});
    const at::Tensor weight = at::randn({in, out});
    const at::Tensor expected =
        at::linear(x.to(at::kDouble), weight.t().to(at::kDouble), bias.to(at::kDouble));
    EXPECT_TRUE(at::allclose(cpu::Linear(x, weight, bias).to(at::kDouble), expected, 1e-4, 1e-4));
  }
}

// Kernels of our own would cut the graph: a gradient wanted of a single tensor keeps them out.
TEST(Kernels, AreNotUsedIfAGradientIsNeeded) {
  at::Tensor x = at::randn({2, 4, 3, 3}), rows = at::randn({2, 4});
  at::Tensor weight = at::randn({4}), bias = at::randn({4});
  at::Tensor matrix = at::randn({4, 4}).t();  // laid out as Linear::Load does
  Modulation modulation{at::randn({2, 4}), at::randn({2, 4}), at::randn({2, 4})};
  const auto expect_gradient = [](at::Tensor& tensor, const std::function<at::Tensor()>& layer) {
    EXPECT_FALSE(layer().requires_grad());
    tensor.requires_grad_();
    layer().square().sum().backward();
    EXPECT_GT(tensor.grad().abs().sum().item<float>(), 0);
    tensor.requires_grad_(false);
  };
  const auto norm = [&] {
    return GroupNorm{weight, bias, 2, 1e-5, {}}(x, Activation::kSilu, modulation);
  };
  for (at::Tensor* tensor :
       {&x, &weight, &bias, &modulation.shift_before, &modulation.scale, &modulation.shift}) {
    expect_gradient(*tensor, norm);
  }
  const auto linear = [&] { return Linear{matrix, bias, true}(rows); };
  for (at::Tensor* tensor : {&rows, &matrix, &bias}) expect_gradient(*tensor, linear);
  expect_gradient(x, [&] { return Activate(Activation::kSilu, x, {}); });
}

}  // namespace
}  // namespace denoise::nn
