#include "core/train/gradients.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace denoise {
namespace {

TEST(Gradients, AddUpOverBackwardPasses) {
  const StateDict weights = MakeTrainable({{"a", at::ones({2})}, {"b", at::ones({3})}}, at::kCPU);
  (weights.at("a") * 2).sum().backward();
  (weights.at("a") * 3).sum().backward();
  const StateDict gradients = GradientsOf(weights);
  EXPECT_TRUE(at::allclose(gradients.at("a"), at::full({2}, 5.0F)));
  EXPECT_EQ(gradients.size(), 1u);  // none of them reached b
  ZeroInPlace(gradients);
  EXPECT_EQ(weights.at("a").grad().sum().item<float>(), 0);
}

TEST(Gradients, TrainableWeightsAreNotThoseTheyWereMadeOf) {
  const at::Tensor source = at::ones({2});
  const StateDict weights = MakeTrainable({{"a", source}}, at::kCPU);
  weights.at("a").detach().fill_(7);
  EXPECT_EQ(source.sum().item<float>(), 2);
  EXPECT_FALSE(source.requires_grad());
}

TEST(Gradients, NormIsOfAllOfThemTogether) {
  const StateDict gradients = {{"a", at::full({2, 2}, 3.0F)}, {"b", at::full({7}, -1.0F)}};
  EXPECT_NEAR(GlobalNorm(gradients).item<double>(), std::sqrt(4 * 9 + 7), 1e-6);
  ScaleInPlace(gradients, 0.5);
  EXPECT_NEAR(GlobalNorm(gradients).item<double>(), std::sqrt(4 * 9 + 7) / 2, 1e-6);
}

TEST(Gradients, NormShowsASingleElementThatIsNotFinite) {
  for (const float value :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    const StateDict gradients = {{"a", at::ones({2})}, {"b", at::ones({100})}};
    gradients.at("b")[57] = value;
    EXPECT_FALSE(std::isfinite(GlobalNorm(gradients).item<double>()));
  }
}

}  // namespace
}  // namespace denoise
