#include "core/codec/tiled_pass.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/core/codec/test_codecs.h"

namespace denoise {
namespace {

using testing::ElementsAre;

// Decodes a latent to `factor` x `factor` pixels of twice its value, encodes by averaging, and
// notes what it was given.
class ToyCodec final : public Codec {
 public:
  const CodecSpec& spec() const override { return spec_; }
  at::Device device() const override { return at::kCPU; }
  at::ScalarType dtype() const override { return at::kFloat; }
  at::Tensor Encode(const at::Tensor& pictures, const at::Tensor& noise) const override {
    Note(pictures, spec_.factor);
    const at::Tensor mean = at::avg_pool2d(pictures, {4, 4}, {4, 4}) / 2;
    return noise.defined() ? mean + noise : mean;
  }
  at::Tensor EncodeWithoutStatistics(const at::Tensor& pictures,
                                     const at::Tensor& noise) const override {
    return Encode(pictures, noise) + 1;
  }
  at::Tensor Decode(const at::Tensor& latents) const override {
    Note(latents, 1);
    return at::upsample_nearest2d(latents * 2, {latents.size(2) * 4, latents.size(3) * 4});
  }
  std::shared_ptr<const Codec> To(at::Device, at::ScalarType) const override { return nullptr; }

  int64_t longest_side() const { return longest_side_; }
  int64_t most_rows() const { return most_rows_; }

 private:
  void Note(const at::Tensor& x, int64_t scale) const {
    longest_side_ = std::max({longest_side_, x.size(2) / scale, x.size(3) / scale});
    most_rows_ = std::max(most_rows_, x.size(0));
  }

  const CodecSpec spec_ = {
      .picture_channels = 2, .latent_channels = 2, .factor = 4, .samples_latents = true};
  mutable int64_t longest_side_ = 0;
  mutable int64_t most_rows_ = 0;
};

at::Tensor Finish(TiledPass pass) {
  int64_t advances = 0;
  for (; !pass.done(); ++advances) pass.Advance();
  EXPECT_EQ(advances, pass.steps());
  return pass.result();
}

at::Tensor DecodeInTiles(std::shared_ptr<const Codec> codec, const at::Tensor& latents,
                         const TileOptions& options) {
  return Finish(TiledPass::Decode(std::move(codec), latents, options));
}

double MaxDifference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

class TiledPasses : public testing::Test {
 private:
  const c10::InferenceMode inference_;
};

TEST(DivideIntoTiles, CoversEverySizeWithFewTilesThatOverlapEnough) {
  for (int64_t side = 1; side <= 12; ++side) {
    for (int64_t overlap = 0; overlap <= side / 2; ++overlap) {
      for (int64_t size = 1; size <= 60; ++size) {
        const std::vector<TileSpan> spans = DivideIntoTiles(size, side, overlap);
        ASSERT_EQ(spans.front().start, 0);
        ASSERT_EQ(spans.back().start + spans.back().size, size);
        ASSERT_EQ(spans.size() == 1, size <= side);
        for (size_t i = 0; i < spans.size(); ++i) {
          ASSERT_LE(spans[i].size, side);
          ASSERT_EQ(spans[i].size, spans[0].size);
          if (i == 0) continue;
          ASSERT_GT(spans[i].start, spans[i - 1].start);
          ASSERT_GE(spans[i - 1].start + spans[i - 1].size - spans[i].start, overlap)
              << size << " in " << side << " by " << overlap;
        }
      }
    }
  }
  EXPECT_THAT(DivideIntoTiles(128, 64, 16),
              ElementsAre(TileSpan{0, 54}, TileSpan{37, 54}, TileSpan{74, 54}));
}

TEST_F(TiledPasses, OfACodecWithoutContextChangeNothing) {
  for (const auto& [side, overlap] : {std::pair{16, 8}, {20, 4}, {12, 0}, {4, 400}, {1, 1}}) {
    SCOPED_TRACE(testing::Message() << side << " by " << overlap);
    const auto codec = std::make_shared<ToyCodec>();
    const TileOptions options = {.side = side, .overlap = overlap};
    const at::Tensor latents = Normal({2, 2, 9, 14}, 1), noise = Normal({2, 2, 9, 14}, 2);
    const at::Tensor decoded = codec->Decode(latents);
    const auto tiled = std::make_shared<ToyCodec>();
    EXPECT_LE(MaxDifference(DecodeInTiles(tiled, latents, options), decoded), 1e-6);
    EXPECT_LE(MaxDifference(Finish(TiledPass::Encode(tiled, decoded, noise, true, options)),
                            latents + noise),
              1e-6);
    EXPECT_LE(
        MaxDifference(Finish(TiledPass::Encode(tiled, decoded, {}, false, options)), latents + 1),
        1e-6);
    EXPECT_LE(tiled->longest_side(), std::max(1, side / 4));
    EXPECT_EQ(tiled->most_rows(), 1);
  }
}

TEST_F(TiledPasses, BelowASizeAreThePlainCodec) {
  for (const std::string pipeline : {"sdxl-latent-statistics", "tiny-vae"}) {
    const auto codec = LoadCodec(ReadReferenceCodec(pipeline));
    const int64_t factor = codec->spec().factor;
    const at::Tensor latents = Normal({3, 4, 5, 8}, 1), noise = Normal({3, 4, 5, 8}, 2);
    const at::Tensor decoded = codec->Decode(latents);
    const TileOptions options = {.side = 8 * factor, .overlap = 4 * factor};
    EXPECT_EQ(TiledPass::Decode(codec, latents, options).steps(), 3);
    EXPECT_TRUE(at::equal(DecodeInTiles(codec, latents, options), decoded));
    EXPECT_TRUE(at::equal(Finish(TiledPass::Encode(codec, decoded, noise, true, options)),
                          codec->Encode(decoded, noise)));
    EXPECT_TRUE(at::equal(Finish(TiledPass::Encode(codec, decoded, noise, false, options)),
                          codec->EncodeWithoutStatistics(decoded, noise)));
  }
}

// The tiny autoencoder has no norms and no attention, so that only the tiles' edges can differ.
TEST_F(TiledPasses, LeaveNoSeams) {
  const auto codec = LoadCodec(ReadReferenceCodec("tiny-vae"));
  const at::Tensor latents =
      at::upsample_bilinear2d(Normal({1, 4, 3, 3}, 1), {40, 52}, /*align_corners=*/true);
  const at::Tensor whole = codec->Decode(latents);
  const at::Tensor blended = DecodeInTiles(codec, latents, {.side = 80, .overlap = 40});
  const at::Tensor cut = DecodeInTiles(codec, latents, {.side = 80, .overlap = 0});
  // The steepest step between neighbouring pixels that the whole does not have.
  const auto seam = [&](const at::Tensor& picture) {
    return (picture - whole).diff(1, 3).abs().max().item<double>();
  };
  const double range = (whole.max() - whole.min()).item<double>();
  EXPECT_LE(MaxDifference(blended, whole), 0.05 * range);
  EXPECT_LE(seam(blended), 0.02 * range);
  EXPECT_GT(seam(cut), 4 * seam(blended));
}

// Norms and attention see a tile alone.
TEST_F(TiledPasses, DecodeEachTileAsAPictureOfItsOwn) {
  const auto codec = LoadCodec(ReadReferenceCodec("sd15-like"));
  const at::Tensor latents = Normal({1, 4, 10, 16}, 1);
  const at::Tensor tiled = DecodeInTiles(codec, latents, {.side = 20, .overlap = 8});
  const at::Tensor left = codec->Decode(latents.narrow(3, 0, 10).clone());
  const at::Tensor right = codec->Decode(latents.narrow(3, 6, 10).clone());
  EXPECT_TRUE(at::equal(tiled.narrow(3, 0, 12), left.narrow(3, 0, 12)));
  EXPECT_TRUE(at::equal(tiled.narrow(3, 20, 12), right.narrow(3, 8, 12)));
  const at::Tensor share = (at::arange(8, at::kFloat) + 0.5) / 8;  // of the right one
  EXPECT_LE(MaxDifference(tiled.narrow(3, 12, 8),
                          left.narrow(3, 12, 8) * (1 - share) + right.narrow(3, 0, 8) * share),
            1e-5);
}

TEST_F(TiledPasses, ARowsResultIsItsOwn) {
  const auto codec = LoadCodec(ReadReferenceCodec("sd15-like"));
  const at::Tensor latents = Normal({3, 4, 11, 9}, 1);
  const TileOptions options = {.side = 12, .overlap = 4};
  const at::Tensor together = DecodeInTiles(codec, latents, options);
  for (int64_t row = 0; row < 3; ++row) {
    EXPECT_TRUE(at::equal(DecodeInTiles(codec, latents.narrow(0, row, 1).clone(), options),
                          together.narrow(0, row, 1)));
  }
}

TEST_F(TiledPasses, RefuseWhatIsOutOfTurn) {
  const auto codec = std::make_shared<ToyCodec>();
  TiledPass pass = TiledPass::Decode(codec, Normal({1, 2, 4, 4}, 1), {.side = 8, .overlap = 4});
  EXPECT_GT(pass.steps(), 1);
  EXPECT_THROW(pass.result(), c10::Error);
  while (!pass.done()) pass.Advance();
  EXPECT_EQ(pass.steps_done(), pass.steps());
  EXPECT_NO_THROW(pass.result());
  EXPECT_THROW(pass.Advance(), c10::Error);
  EXPECT_THROW(TiledPass::Decode(codec, Normal({1, 3, 4, 4}, 1), {}), c10::Error);
  EXPECT_THROW(TiledPass::Encode(codec, Uniform({1, 2, 4, 5}, 1), {}, true, {}), c10::Error);
}

}  // namespace
}  // namespace denoise
