#include "core/evaluation/copy_search.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/core/evaluation/random_rows.h"

namespace denoise {
namespace {

using testing::DoubleNear;
using testing::Each;
using testing::ElementsAre;
using testing::Lt;
using testing::Pointwise;

at::Tensor Line(const std::vector<float>& places) { return at::tensor(places).unsqueeze(1); }

// With the pictures in pieces of `piece`.
Copies Search(const at::Tensor& samples, const at::Tensor& pictures, int64_t piece = 1000) {
  CopySearch search(samples);
  for (int64_t i = 0; i < pictures.size(0); i += piece) {
    search.BeginPiece(pictures.narrow(0, i, std::min(piece, pictures.size(0) - i)));
    for (int64_t tile = 0; tile < search.tiles(); ++tile) search.AddToTile(tile);
  }
  return search.result();
}

TEST(CopySearch, CopiesAreAThirdAsFarFromTheNearestAsFromTheSecond) {
  // Distances to the nearest two are 1.1 and 2.9, 0.9 and 3.1, 1.1 and 2.9, 0 and 4, 6 and 10.
  const Copies copies = Search(Line({1.1, 0.9, 2.9, 4, 10}), Line({0, 4}));
  EXPECT_THAT(copies.nearest, ElementsAre(0, 0, 1, 1, 1));
  const auto is = [](double value) { return testing::DoubleNear(value, 1e-6); };
  EXPECT_THAT(copies.ratios,
              ElementsAre(is(1.1 / 2.9), is(0.9 / 3.1), is(1.1 / 2.9), is(0), is(0.6)));
  EXPECT_DOUBLE_EQ(copies.memorisation_rate, 2.0 / 5);
}

TEST(CopySearch, FindsEveryCopyAndNothingElse) {
  const at::Tensor pictures = NormalRows(500, 40, 1);
  // 30 of the pictures, slightly blurred, among 70 that are new.
  const at::Tensor copies = pictures.narrow(0, 100, 30) + 0.01 * NormalRows(30, 40, 2);
  const Copies found = Search(at::cat({copies, NormalRows(70, 40, 3)}), pictures, 128);
  EXPECT_DOUBLE_EQ(found.memorisation_rate, 0.3);
  for (int i = 0; i < 30; ++i) EXPECT_EQ(found.nearest[i], 100 + i);
}

TEST(CopySearch, PicturesThatAreSamplesAreAllCopied) {
  const at::Tensor pictures = NormalRows(300, 20, 1);
  const Copies copies = Search(pictures, pictures, 64);
  EXPECT_EQ(copies.memorisation_rate, 1);
  for (int64_t i = 0; i < 300; ++i) EXPECT_EQ(copies.nearest[i], i);
}

// Where density is even the ratio is below r with probability r^D.
TEST(CopySearch, ByChanceARatioBelowAThirdIsRare) {
  at::Generator generator = at::detail::createCPUGenerator(1);
  const at::Tensor samples = 0.1 + 0.8 * at::rand({4000, 2}, generator, at::kFloat);
  const at::Tensor pictures = at::rand({2000, 2}, generator, at::kFloat);
  EXPECT_NEAR(Search(samples, pictures).memorisation_rate, 1.0 / 9, 0.015);
}

TEST(CopySearch, ADuplicatePictureCanStillBeCopied) {
  const at::Tensor once = NormalRows(50, 20, 1);
  const at::Tensor samples = once + 0.01 * NormalRows(50, 20, 2);
  const at::Tensor twice = at::cat({once, once});
  for (const int64_t piece : {1000, 50, 7, 1}) {
    const Copies copies = Search(samples, twice, piece);
    EXPECT_EQ(copies.memorisation_rate, 1) << piece;
    EXPECT_THAT(copies.ratios, Each(Lt(0.1))) << piece;
    for (int64_t i = 0; i < 50; ++i) EXPECT_EQ(copies.nearest[i], i) << piece;
  }
}

TEST(CopySearch, PiecesDoNotMatter) {
  const at::Tensor samples = NormalRows(60, 5, 1), pictures = NormalRows(200, 5, 2);
  const Copies whole = Search(samples, pictures);
  for (const int64_t piece : {1, 3, 64}) {
    const Copies pieces = Search(samples, pictures, piece);
    EXPECT_EQ(pieces.nearest, whole.nearest);
    // How a matrix product rounds depends on its shape.
    EXPECT_THAT(pieces.ratios, Pointwise(DoubleNear(1e-6), whole.ratios));
  }
}

TEST(CopySearch, WithoutASecondPictureOnlyTheSameIsACopy) {
  const Copies copies = Search(Line({1, 2}), Line({1, 1, 1}));
  EXPECT_THAT(copies.ratios, ElementsAre(0, 1));
  EXPECT_THAT(copies.nearest, ElementsAre(0, 0));
}

}  // namespace
}  // namespace denoise
