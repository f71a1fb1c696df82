#include "core/train/step_draws.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

namespace denoise {
namespace {

TEST(StepDraws, NoiseOfARowDoesNotDependOnTheNetworkCall) {
  const at::Tensor whole = DrawNoise(3, 10, 0, {5, 3, 4, 4});
  const at::Tensor parts =
      at::cat({DrawNoise(3, 10, 0, {2, 3, 4, 4}), DrawNoise(3, 10, 2, {3, 3, 4, 4})});
  EXPECT_TRUE(at::equal(whole, parts));
  EXPECT_FALSE(at::equal(whole[0], whole[1]));
  EXPECT_FALSE(at::equal(whole, DrawNoise(3, 11, 0, {5, 3, 4, 4})));
  EXPECT_FALSE(at::equal(whole, DrawNoise(4, 10, 0, {5, 3, 4, 4})));
}

TEST(StepDraws, NoiseIsStandardNormal) {
  const at::Tensor noise = DrawNoise(0, 1, 0, {64, 1, 16, 16});
  EXPECT_NEAR(noise.mean().item<double>(), 0, 0.03);
  EXPECT_NEAR(noise.std().item<double>(), 1, 0.03);
}

TEST(StepDraws, DropsTheAskedPartOfLabels) {
  constexpr int kRows = 4000;
  const at::Tensor labels = at::full({kRows}, 3, at::kLong);
  const at::Tensor dropped = DropLabels(5, 1, 0, labels, 0.2, 9);
  EXPECT_NEAR((dropped == 9).sum().item<double>() / kRows, 0.2, 0.03);
  EXPECT_EQ(((dropped == 9) + (dropped == 3)).sum().item<int64_t>(), kRows);
  EXPECT_TRUE(at::equal(labels, at::full({kRows}, 3, at::kLong)));
  EXPECT_TRUE(at::equal(dropped.slice(0, 1000, 1500),
                        DropLabels(5, 1, 1000, labels.slice(0, 1000, 1500), 0.2, 9)));
  EXPECT_EQ((DropLabels(5, 1, 0, labels, 1, 9) == 9).sum().item<int64_t>(), kRows);
}

}  // namespace
}  // namespace denoise
