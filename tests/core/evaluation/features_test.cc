#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/evaluation/untrained_features.h"
#include "tests/core/evaluation/random_rows.h"

namespace denoise {
namespace {

at::Tensor Pictures(int64_t count, int64_t channels, int64_t height, int64_t width, uint64_t seed) {
  return NormalRows(count, channels * height * width, seed)
      .view({count, channels, height, width})
      .clamp(-1, 1);
}

double MaxDifference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

TEST(PixelFeatures, OfSmallPicturesAreThePixels) {
  const at::Tensor pictures = Pictures(2, 3, 5, 16, 1);
  EXPECT_TRUE(PixelFeatures().Extract(pictures).equal(pictures.flatten(1)));
}

TEST(PixelFeatures, OfLargerPicturesAreAveragesOfTheirProportions) {
  const at::Tensor pictures = at::arange(32 * 64, at::kFloat).view({1, 1, 32, 64});
  const at::Tensor features = PixelFeatures().Extract(pictures);
  ASSERT_THAT(features.sizes(), testing::ElementsAre(1, 8 * 16));
  // The first is the mean of 4 x 4 pixels, whose rows begin 64 apart.
  EXPECT_FLOAT_EQ(features[0][0].item<float>(), 1.5 + 1.5 * 64);
  EXPECT_FLOAT_EQ(features[0][17].item<float>(), 1.5 + 4 + (1.5 + 4) * 64);
}

TEST(RandomConvolutionFeatures, HaveTheSameNumberForEveryShape) {
  const RandomConvolutionFeatures features;
  for (const auto& [channels, height, width] :
       {std::tuple{1, 1, 1}, {3, 8, 8}, {3, 32, 32}, {1, 33, 7}, {3, 128, 200}}) {
    const at::Tensor extracted = features.Extract(Pictures(2, channels, height, width, 1));
    ASSERT_THAT(extracted.sizes(), testing::ElementsAre(2, 495));
    EXPECT_TRUE(extracted.isfinite().all().item<bool>());
  }
}

// The numbers of a picture are part of what evaluations are compared by: a change of them is a
// change of every Frechet distance.
TEST(RandomConvolutionFeatures, NeverChange) {
  const at::Tensor x = at::arange(3 * 16 * 16, at::kFloat).view({1, 3, 16, 16});
  const at::Tensor features = RandomConvolutionFeatures().Extract((x * 0.7).sin())[0];
  const double expected[] = {0.0127691, 0.7744173, 0.4794255, 0.0767676};
  const int places[] = {0, 100, 250, 400};
  for (int i = 0; i < 4; ++i) {
    EXPECT_NEAR(features[places[i]].item<double>(), expected[i], 1e-4) << places[i];
  }
}

TEST(RandomConvolutionFeatures, OfAPictureDoNotDependOnTheOthers) {
  const RandomConvolutionFeatures features;
  const at::Tensor pictures = Pictures(9, 3, 24, 24, 1);
  const at::Tensor together = features.Extract(pictures);
  for (int64_t i = 0; i < 9; ++i) {
    EXPECT_LT(MaxDifference(features.Extract(pictures.narrow(0, i, 1))[0], together[i]), 1e-5);
  }
}

TEST(RandomConvolutionFeatures, OfAFlatPictureAreItsColour) {
  const at::Tensor features = RandomConvolutionFeatures().Extract(at::full({1, 3, 32, 32}, 0.5))[0];
  EXPECT_LT(MaxDifference(features.narrow(0, 0, 12), at::full({12}, 0.5)), 1e-6);
  EXPECT_LT(features.narrow(0, 12, 483).abs().max().item<double>(), 1e-5);
}

TEST(RandomConvolutionFeatures, OfGrayMatchTheSamePictureInColour) {
  const RandomConvolutionFeatures features;
  const at::Tensor gray = Pictures(2, 1, 16, 16, 1);
  EXPECT_LT(MaxDifference(features.Extract(gray), features.Extract(gray.expand({2, 3, 16, 16}))),
            1e-6);
}

// What flows through keeps about its size, so that every scale has its say in distances.
TEST(RandomConvolutionFeatures, EveryStageVaries) {
  const at::Tensor pictures = Pictures(200, 3, 32, 32, 1);
  const at::Tensor deviation = RandomConvolutionFeatures().Extract(pictures).std(0);
  for (int stage = 0; stage < 4; ++stage) {
    const double mean = deviation.narrow(0, 15 + 120 * stage, 120).mean().item<double>();
    EXPECT_GT(mean, 0.02) << stage;
    EXPECT_LT(mean, 1) << stage;
  }
}

TEST(RandomConvolutionFeatures, ShowWhereThingsAre) {
  at::Tensor left = at::full({1, 3, 32, 32}, -1.0), right = left.clone();
  left.slice(3, 4, 8).fill_(1);
  right.slice(3, 24, 28).fill_(1);
  const RandomConvolutionFeatures features;
  EXPECT_GT(MaxDifference(features.Extract(left), features.Extract(right)), 0.1);
}

}  // namespace
}  // namespace denoise
