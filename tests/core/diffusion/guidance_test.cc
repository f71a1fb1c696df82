#include "core/diffusion/guidance.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/stack.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/support/class_conditions.h"

namespace denoise {
namespace {

using testing::ElementsAre;

Evaluation At(double timestep, double alpha, double sigma) {
  Evaluation evaluation;
  evaluation.timestep = timestep;
  evaluation.alpha = alpha;
  evaluation.sigma = sigma;
  return evaluation;
}

// A picture of [1, 2, 2]: `mean` and its values around it, of standard deviation sqrt(20 / 3) *
// `scale`.
at::Tensor Picture(double mean, double scale) {
  return (at::arange(-3, 4, 2).to(at::kFloat) * scale + mean).view({1, 2, 2});
}

TEST(BlendRows, IsTheWeightedSum) {
  const at::Tensor rows =
      at::stack({at::full({1, 2, 2}, 1.0), at::full({1, 2, 2}, 10.0), at::full({1, 2, 2}, 100.0)});
  const at::Tensor blend = BlendRows(rows, Classes({{4, 0.5}, {0, 0.3}, {7, 0.2}}));
  EXPECT_TRUE(blend.allclose(at::full({1, 2, 2}, 23.5)));
}

TEST(BlendRows, OfOneRowIsThatRow) {
  const at::Tensor rows = Picture(0.1, 0.7).unsqueeze(0);
  EXPECT_TRUE(BlendRows(rows, Classes({{4, 1}})).equal(rows[0]));
  EXPECT_TRUE(BlendRows(rows, Conditioning().conditions).equal(rows[0]));
}

TEST(Guide, ExtrapolatesFromTheUnconditionalPrediction) {
  const at::Tensor m = Guide(Picture(3, 2), Picture(1, 1), {.scale = 2.5});
  EXPECT_TRUE(m.allclose(Picture(6, 3.5)));  // 1 + 2.5 * (3 - 1), 1 + 2.5 * (2 - 1)
}

TEST(Guide, AScaleOfZeroIsTheUnconditionalPrediction) {
  EXPECT_TRUE(Guide(Picture(3, 2), Picture(1, 1), {.scale = 0}).equal(Picture(1, 1)));
}

TEST(Guide, RescalesToTheDeviationOfTheConditionalPrediction) {
  const Guidance guidance{.scale = 2.5, .rescale = 1};
  const at::Tensor m = Guide(Picture(3, 2), Picture(1, 1), guidance);
  EXPECT_NEAR(m.std().item<double>(), 2 * std::sqrt(20.0 / 3), 1e-5);
  EXPECT_TRUE(m.allclose(Picture(6, 3.5) * (2 / 3.5)));
}

TEST(Guide, RescalesPartOfTheWay) {
  const Guidance guidance{.scale = 2.5, .rescale = 0.25};
  const at::Tensor m = Guide(Picture(3, 2), Picture(1, 1), guidance);
  EXPECT_TRUE(m.allclose(Picture(6, 3.5) * (0.25 * 2 / 3.5 + 0.75)));
}

TEST(Guide, APredictionWithoutContrastIsNotRescaled) {
  const Guidance guidance{.scale = 2, .rescale = 1};
  EXPECT_TRUE(Guide(Picture(3, 0), Picture(1, 0), guidance).equal(Picture(5, 0)));
}

TEST(IsGuided, InsideBothIntervalsBoundsIncluded) {
  Conditioning conditioning{.guidance = {.scale = 2}};
  EXPECT_TRUE(IsGuided(conditioning, At(999, 0.5, 0.8)));
  conditioning.guidance.timesteps = {100, 200};
  EXPECT_FALSE(IsGuided(conditioning, At(99, 1, 1)));
  EXPECT_TRUE(IsGuided(conditioning, At(100, 1, 1)));
  EXPECT_TRUE(IsGuided(conditioning, At(200, 1, 1)));
  EXPECT_FALSE(IsGuided(conditioning, At(201, 1, 1)));
}

TEST(IsGuided, NoiseLevelsAreSigmaOverAlpha) {
  const Conditioning conditioning{.guidance = {.scale = 2, .sigmas = {0.5, 4}}};
  EXPECT_TRUE(IsGuided(conditioning, At(0, 1, 0.5)));
  EXPECT_TRUE(IsGuided(conditioning, At(0, 0.25, 1)));
  EXPECT_FALSE(IsGuided(conditioning, At(0, 0.25, 1.1)));
  EXPECT_FALSE(IsGuided(conditioning, At(0, 1, 0.4)));
  EXPECT_FALSE(IsGuided(conditioning, At(0, 0, 1))) << "where no signal is left";
  EXPECT_TRUE(IsGuided({.guidance = {.scale = 2, .sigmas = {.min = 1}}}, At(0, 0, 1)));
}

TEST(IsGuided, NeverAtAScaleOfOne) {
  EXPECT_FALSE(IsGuided({.guidance = {.scale = 1, .rescale = 0.5}}, At(500, 1, 1)));
}

// The classes of the rows of an evaluation.
std::vector<std::optional<int64_t>> RowLabels(const Conditioning& conditioning,
                                              const Evaluation& evaluation) {
  std::vector<std::optional<int64_t>> labels;
  for (const SharedCondition& row : RowConditions(conditioning, evaluation)) {
    labels.push_back(row->class_label);
  }
  return labels;
}

TEST(Rows, AreTheConditionsAndThenTheUnconditional) {
  Conditioning conditioning{.conditions = Classes({{5, 0.5}, {3, 0.5}}),
                            .unconditional = ClassCondition(8)};
  EXPECT_THAT(RowLabels(conditioning, At(0, 1, 1)), ElementsAre(5, 3));
  conditioning.guidance = {.scale = 2, .timesteps = {.min = 100}};
  EXPECT_THAT(RowLabels(conditioning, At(0, 1, 1)), ElementsAre(5, 3));
  EXPECT_THAT(RowLabels(conditioning, At(100, 1, 1)), ElementsAre(5, 3, 8));
  EXPECT_THAT(RowLabels({}, At(0, 1, 1)), ElementsAre(std::nullopt)) << "a network without classes";
}

TEST(RowWeights, AreThoseOfTheGuidedPrediction) {
  Conditioning conditioning{.conditions = Classes({{5, 0.25}, {3, 0.75}}),
                            .unconditional = ClassCondition(8)};
  EXPECT_THAT(RowWeights(conditioning, At(0, 1, 1)), ElementsAre(0.25, 0.75));
  conditioning.guidance = {.scale = 4, .timesteps = {.min = 100}};
  EXPECT_THAT(RowWeights(conditioning, At(0, 1, 1)), ElementsAre(0.25, 0.75));
  EXPECT_THAT(RowWeights(conditioning, At(100, 1, 1)), ElementsAre(1, 3, -3));
  conditioning.conditions = Classes({{5, 1}});
  EXPECT_THAT(RowWeights(conditioning, At(100, 1, 1)), ElementsAre(4, -3));
  EXPECT_THAT(RowWeights({}, At(0, 1, 1)), ElementsAre(1)) << "a network without classes";
}

TEST(Rows, AreCounted) {
  SamplerPlan plan;
  plan.evaluations = {At(900, 1, 9), At(100, 1, 1)};
  Conditioning conditioning{.conditions = Classes({{5, 0.5}, {3, 0.5}}),
                            .unconditional = ClassCondition(8)};
  EXPECT_EQ(FullRows(conditioning), 2);
  EXPECT_EQ(MaxRows(conditioning, plan), 2);
  conditioning.guidance = {.scale = 2, .sigmas = {.max = 1}};
  EXPECT_EQ(NumRows(conditioning, plan.evaluations[0]), 2);
  EXPECT_EQ(NumRows(conditioning, plan.evaluations[1]), 3);
  EXPECT_EQ(FullRows(conditioning), 3);
  EXPECT_EQ(MaxRows(conditioning, plan), 3);
  conditioning.guidance.sigmas.max = 0.5;
  EXPECT_EQ(FullRows(conditioning), 3);
  EXPECT_EQ(MaxRows(conditioning, plan), 2) << "no evaluation is inside";
  EXPECT_EQ(MaxRows({}, plan), 1);
}

}  // namespace
}  // namespace denoise
