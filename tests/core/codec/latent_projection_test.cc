#include "core/codec/latent_projection.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include "core/codec/identity_codec.h"
#include "tests/core/codec/test_codecs.h"

namespace denoise {
namespace {

double MaxDifference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

class LatentProjections : public testing::Test {
 private:
  const c10::InferenceMode inference_;
};

TEST_F(LatentProjections, RecoverALinearMap) {
  const LatentProjection truth(Normal({3, 4}, 1), Normal({3}, 2));
  const at::Tensor latents = Normal({2, 4, 6, 5}, 3) * 2 + 1;
  const at::Tensor small = truth.Apply(latents);
  EXPECT_EQ(small.sizes(), (std::vector<int64_t>{2, 3, 6, 5}));
  for (const int64_t factor : {1, 4}) {
    const at::Tensor pictures = Upscale(small, factor, Upscaling::kNearest);
    const LatentProjection fitted = FitLatentProjection(latents, pictures);
    EXPECT_LE(MaxDifference(fitted.weight(), truth.weight()), 1e-4);
    EXPECT_LE(MaxDifference(fitted.bias(), truth.bias()), 1e-4);
  }
}

TEST_F(LatentProjections, ApplyToEachPixelOfEachRowAlone) {
  const LatentProjection projection(Normal({3, 5}, 1), Normal({3}, 2));
  const at::Tensor latents = Normal({4, 5, 3, 7}, 3);
  const at::Tensor together = projection.Apply(latents);
  for (int64_t row = 0; row < 4; ++row) {
    EXPECT_TRUE(
        at::equal(projection.Apply(latents.narrow(0, row, 1).clone()), together.narrow(0, row, 1)));
  }
  const at::Tensor pixel = latents.select(0, 2).select(1, 1).select(1, 4);
  EXPECT_LE(MaxDifference(projection.weight().mv(pixel) + projection.bias(),
                          together.select(0, 2).select(1, 1).select(1, 4)),
            1e-5);
}

TEST_F(LatentProjections, ConstantChannelsGetNoWeight) {
  at::Tensor latents = Normal({1, 3, 8, 8}, 1);
  latents.select(1, 1).fill_(2);
  const at::Tensor pictures = latents.narrow(1, 0, 1) * 0.5 + 0.1;
  const LatentProjection fitted = FitLatentProjection(latents, pictures);
  EXPECT_LE(MaxDifference(fitted.weight(), at::tensor({0.5, 0.0, 0.0}, at::kFloat)), 1e-4);
  EXPECT_LE(MaxDifference(fitted.bias(), at::tensor({0.1}, at::kFloat)), 1e-4);
  const at::Tensor flat = at::zeros({1, 3, 4, 4});
  const LatentProjection mean = FitLatentProjection(flat, at::ones({1, 2, 4, 4}));
  EXPECT_LE(MaxDifference(mean.Apply(flat), at::ones({1, 2, 4, 4})), 1e-6);
}

// Latents are mixtures of the colours' averages, and decoding bends the colours a little.
class MixingCodec final : public Codec {
 public:
  const CodecSpec& spec() const override { return spec_; }
  at::Device device() const override { return at::kCPU; }
  at::ScalarType dtype() const override { return at::kFloat; }
  at::Tensor Encode(const at::Tensor& pictures, const at::Tensor&) const override {
    return at::conv2d(at::avg_pool2d(pictures, {4, 4}, {4, 4}), mixing_.view({4, 3, 1, 1})) + 2;
  }
  at::Tensor Decode(const at::Tensor& latents) const override {
    const at::Tensor colors = at::conv2d(latents - 2, at::linalg_pinv(mixing_).view({3, 4, 1, 1}));
    return Upscale(at::sin(colors), 4, Upscaling::kNearest);
  }
  std::shared_ptr<const Codec> To(at::Device, at::ScalarType) const override { return nullptr; }

 private:
  const CodecSpec spec_ = {.picture_channels = 3, .latent_channels = 4, .factor = 4};
  const at::Tensor mixing_ = Normal({4, 3}, 5);
};

TEST_F(LatentProjections, OfACodecShowItsPictures) {
  const MixingCodec codec;
  const LatentProjection projection = FitLatentProjection(codec, {});
  const at::Tensor colors = at::tanh(Normal({1, 3, 16, 16}, 7));
  const at::Tensor pictures = Upscale(colors, 4, Upscaling::kNearest);
  const at::Tensor preview = projection.Apply(codec.Encode(pictures, {}));
  EXPECT_LE((preview - colors).square().mean().item<double>(), 0.05 * colors.var().item<double>());
}

TEST_F(LatentProjections, OfACodecAreRepeatable) {
  for (const std::string pipeline : {"sd15-like", "tiny-vae", "ldm-like"}) {
    const auto codec = LoadCodec(ReadReferenceCodec(pipeline));
    const LatentProjection projection = FitLatentProjection(*codec, {});
    EXPECT_TRUE(projection.weight().isfinite().all().item<bool>());
    EXPECT_EQ(projection.weight().sizes(),
              (std::vector<int64_t>{3, codec->spec().latent_channels}));
    EXPECT_TRUE(at::equal(projection.weight(), FitLatentProjection(*codec, {}).weight()));
    EXPECT_FALSE(at::equal(projection.weight(), FitLatentProjection(*codec, {.seed = 1}).weight()));
  }
}

TEST_F(LatentProjections, OfPixelsAreThePixels) {
  const LatentProjection projection = FitLatentProjection(*IdentityCodec(3), {});
  EXPECT_LE(MaxDifference(projection.weight(), at::eye(3)), 1e-4);
  EXPECT_LE(MaxDifference(projection.bias(), at::zeros({3})), 1e-4);
}

TEST_F(LatentProjections, AreUpscaledForDisplay) {
  const at::Tensor x = at::tensor({0.0, 1.0, 2.0, 3.0}, at::kFloat).view({1, 1, 2, 2});
  const at::Tensor nearest = Upscale(x, 3, Upscaling::kNearest);
  EXPECT_EQ(nearest.sizes(), (std::vector<int64_t>{1, 1, 6, 6}));
  EXPECT_TRUE(at::equal(nearest.select(2, 2).flatten(),
                        at::tensor({0.0, 0.0, 0.0, 1.0, 1.0, 1.0}, at::kFloat)));
  const at::Tensor bilinear = Upscale(x, 2, Upscaling::kBilinear);
  EXPECT_TRUE(
      at::equal(bilinear.select(2, 0).flatten(), at::tensor({0.0, 0.25, 0.75, 1.0}, at::kFloat)));
}

TEST_F(LatentProjections, RefuseWrongShapes) {
  EXPECT_THROW(LatentProjection(Normal({3, 4}, 1), Normal({4}, 1)), c10::Error);
  EXPECT_THROW(LatentProjection(Normal({3, 4}, 1), Normal({3}, 1)).Apply(Normal({1, 3, 2, 2}, 1)),
               c10::Error);
  EXPECT_THROW(FitLatentProjection(Normal({1, 4, 4, 4}, 1), Normal({1, 3, 9, 9}, 1)), c10::Error);
  EXPECT_THROW(FitLatentProjection(Normal({1, 4, 4, 4}, 1), Normal({1, 3, 8, 16}, 1)), c10::Error);
  EXPECT_THROW(FitLatentProjection(Normal({2, 4, 4, 4}, 1), Normal({1, 3, 4, 4}, 1)), c10::Error);
  EXPECT_THROW(FitLatentProjection(*IdentityCodec(3), {.count = 0}), c10::Error);
}

}  // namespace
}  // namespace denoise
