// The fused normalisation that training runs on the CPU, against LibTorch's operators in double.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "core/nn/layers.h"

namespace denoise::nn {
namespace {

struct GradientCase {
  int64_t rows, channels, height, width, groups;
  at::ScalarType dtype = at::kFloat;
  bool shift_before = false, scale = false, shift = false, silu = true;
};

std::ostream& operator<<(std::ostream& out, const GradientCase& c) {
  return out << c.rows << "x" << c.channels << "x" << c.height << "x" << c.width << " in "
             << c.groups << " groups, " << c.dtype << (c.shift_before ? ", shift before" : "")
             << (c.scale ? ", scale" : "") << (c.shift ? ", shift" : "")
             << (c.silu ? ", SiLU" : "");
}

// What is differentiated by, in float32 or bfloat16; undefined where the case has none.
struct Leaves {
  at::Tensor x, weight, bias, shift_before, scale, shift;

  std::vector<at::Tensor*> all() { return {&x, &weight, &bias, &shift_before, &scale, &shift}; }
};

const char* const kNames[] = {"x", "weight", "bias", "shift_before", "scale", "shift"};
constexpr double kEps = 1e-5;

Leaves RandomLeaves(const GradientCase& c) {
  at::manual_seed(3);
  const auto leaf = [&](at::IntArrayRef shape, double factor, double offset, bool wanted) {
    if (!wanted) return at::Tensor();
    const at::Tensor value = (at::randn(shape) * factor + offset).to(c.dtype);
    return (shape.size() == 4 ? value.contiguous(at::MemoryFormat::ChannelsLast) : value)
        .set_requires_grad(true);
  };
  return {leaf({c.rows, c.channels, c.height, c.width}, 2, 1, true),
          leaf({c.channels}, 1, 0.5, true),
          leaf({c.channels}, 1, 0, true),
          leaf({c.rows, c.channels}, 1, 0, c.shift_before),
          leaf({c.rows, c.channels}, 0.5, 0, c.scale),
          leaf({c.rows, c.channels}, 1, 0, c.shift)};
}

at::Tensor Fused(const GradientCase& c, const Leaves& in) {
  const GroupNorm norm{in.weight, in.bias, c.groups, kEps, {}};
  return norm(in.x, c.silu ? std::optional(Activation::kSilu) : std::nullopt,
              {in.shift_before, in.scale, in.shift});
}

at::Tensor InDouble(const GradientCase& c, const Leaves& in) {
  const auto per_pixel = [](const at::Tensor& t) { return t.unsqueeze(2).unsqueeze(3); };
  at::Tensor y = in.shift_before.defined() ? in.x + per_pixel(in.shift_before) : in.x;
  y = at::group_norm(y, c.groups, in.weight, in.bias, kEps);
  if (in.scale.defined()) y = y * (per_pixel(in.scale) + 1);
  if (in.shift.defined()) y = y + per_pixel(in.shift);
  return c.silu ? at::silu(y) : y;
}

Leaves Doubled(Leaves in) {
  for (at::Tensor* leaf : in.all()) {
    if (leaf->defined()) *leaf = leaf->detach().to(at::kDouble).set_requires_grad(true);
  }
  return in;
}

// Of the outputs' product with fixed numbers.
std::vector<at::Tensor> Gradients(const at::Tensor& y, Leaves& in) {
  at::manual_seed(4);
  (y * at::randn(y.sizes()).to(y.scalar_type())).sum().backward();
  std::vector<at::Tensor> gradients;
  for (at::Tensor* leaf : in.all()) {
    gradients.push_back(leaf->defined() ? leaf->grad() : at::Tensor());
  }
  return gradients;
}

class GroupNormGradient : public testing::TestWithParam<GradientCase> {};

TEST_P(GroupNormGradient, AgreesWithTheOperators) {
  const GradientCase& c = GetParam();
  Leaves leaves = RandomLeaves(c), exact = Doubled(leaves);
  const at::Tensor y = Fused(c, leaves), y_exact = InDouble(c, exact);
  const std::vector<at::Tensor> found = Gradients(y, leaves), expected = Gradients(y_exact, exact);

  // bfloat16 has 8 bits.
  const double tolerance = c.dtype == at::kFloat ? 2e-4 : 2e-2;
  EXPECT_TRUE(at::allclose(y.to(at::kDouble), y_exact, tolerance, tolerance));
  for (size_t i = 0; i < found.size(); ++i) {
    ASSERT_EQ(found[i].defined(), expected[i].defined()) << kNames[i];
    if (!found[i].defined()) continue;
    EXPECT_EQ(found[i].scalar_type(), c.dtype) << kNames[i];
    const double size = expected[i].abs().max().item<double>() + 1e-3;
    EXPECT_LT((found[i].to(at::kDouble) - expected[i]).abs().max().item<double>(), tolerance * size)
        << kNames[i];
  }
}

TEST_P(GroupNormGradient, DoesNotDependOnThreads) {
  const int threads = at::get_num_threads();
  std::vector<std::vector<at::Tensor>> runs;
  for (const int count : {1, 2, 3}) {
    at::set_num_threads(count);
    Leaves leaves = RandomLeaves(GetParam());
    runs.push_back(Gradients(Fused(GetParam(), leaves), leaves));
  }
  at::set_num_threads(threads);
  for (size_t i = 0; i < runs[0].size(); ++i) {
    if (!runs[0][i].defined()) continue;
    EXPECT_TRUE(at::equal(runs[0][i], runs[1][i])) << kNames[i];
    EXPECT_TRUE(at::equal(runs[0][i], runs[2][i])) << kNames[i];
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, GroupNormGradient,
    testing::Values(
        GradientCase{3, 8, 5, 7, 4}, GradientCase{2, 48, 32, 32, 16},
        GradientCase{.rows = 3,
                     .channels = 10,
                     .height = 5,
                     .width = 7,
                     .groups = 5,
                     .shift_before = true,
                     .scale = true,
                     .shift = true},
        GradientCase{.rows = 3,
                     .channels = 10,
                     .height = 5,
                     .width = 7,
                     .groups = 1,
                     .shift_before = true,
                     .silu = false},
        GradientCase{.rows = 2,
                     .channels = 6,
                     .height = 4,
                     .width = 4,
                     .groups = 3,
                     .scale = true,
                     .shift = true,
                     .silu = false},
        GradientCase{2, 9, 1, 1, 3},
        GradientCase{
            .rows = 64, .channels = 1024, .height = 1, .width = 1, .groups = 1, .scale = true},
        GradientCase{1, 9000, 2, 2, 9},
        GradientCase{.rows = 2,
                     .channels = 12,
                     .height = 9,
                     .width = 8,
                     .groups = 4,
                     .dtype = at::kBFloat16,
                     .shift_before = true,
                     .scale = true,
                     .shift = true},
        GradientCase{.rows = 2,
                     .channels = 48,
                     .height = 32,
                     .width = 32,
                     .groups = 16,
                     .dtype = at::kBFloat16,
                     .silu = false}));

TEST(GroupNormGradient, KeepsChannelsLastOrder) {
  const GradientCase c{2, 8, 4, 4, 2};
  for (const at::MemoryFormat format :
       {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast}) {
    Leaves leaves = RandomLeaves(c);
    leaves.x = leaves.x.detach().contiguous(format).set_requires_grad(true);
    at::Tensor gradient;
    leaves.x.register_hook([&](at::Tensor grad) { gradient = grad; });
    const at::Tensor y = Fused(c, leaves);
    y.sum().backward();
    EXPECT_TRUE(y.is_contiguous(at::MemoryFormat::ChannelsLast));
    EXPECT_TRUE(gradient.is_contiguous(at::MemoryFormat::ChannelsLast));
  }
}

TEST(GroupNormGradient, HasThePrecisionOfEachArgument) {
  const GradientCase c{.rows = 2,
                       .channels = 8,
                       .height = 3,
                       .width = 3,
                       .groups = 2,
                       .dtype = at::kBFloat16,
                       .shift_before = true};
  Leaves leaves = RandomLeaves(c);
  leaves.weight = leaves.weight.detach().to(at::kFloat).set_requires_grad(true);

  Gradients(Fused(c, leaves), leaves);

  EXPECT_EQ(leaves.weight.grad().scalar_type(), at::kFloat);
  EXPECT_EQ(leaves.bias.grad().scalar_type(), at::kBFloat16);
}

TEST(GroupNormGradient, HasNoSecondDerivative) {
  const GradientCase c{2, 8, 3, 3, 2};
  Leaves leaves = RandomLeaves(c);

  EXPECT_THROW(Fused(c, leaves).sum().backward({}, /*keep_graph=*/true, /*create_graph=*/true),
               c10::Error);
}

TEST(GroupNormGradient, NanStaysNanInBFloat16) {
  const GradientCase c{
      .rows = 1, .channels = 4, .height = 2, .width = 2, .groups = 2, .dtype = at::kBFloat16};
  Leaves leaves = RandomLeaves(c);
  leaves.x = at::full_like(leaves.x, NAN).set_requires_grad(true);

  EXPECT_TRUE(Fused(c, leaves).isnan().all().item<bool>());
}

}  // namespace
}  // namespace denoise::nn
