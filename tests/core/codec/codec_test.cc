#include "core/codec/codec.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/codec/identity_codec.h"
#include "tests/core/codec/test_codecs.h"

namespace denoise {
namespace {

using testing::AllOf;
using testing::Field;
using testing::HasSubstr;
using testing::SizeIs;
using testing::UnorderedElementsAre;

// A small autoencoder with `entries` in its configuration, each ending in a comma.
std::string SmallKL(const std::string& entries) {
  return "{" + entries + R"("_class_name": "AutoencoderKL", "block_out_channels": [8, 16],
      "norm_num_groups": 4, "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
      "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"]})";
}

std::vector<FieldViolation> Violations(const CodecFolder& folder, const StateDict& weights) {
  const auto codec = CreateCodec(ParseConfig(folder.config_json), weights, {});
  EXPECT_TRUE(codec.ok() || absl::IsInvalidArgument(codec.status()));
  return GetFieldViolations(codec.status());
}

auto Violation(const std::string& field, const std::string& description) {
  return AllOf(Field(&FieldViolation::field, field),
               Field(&FieldViolation::description, HasSubstr(description)));
}

double MaxDifference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

class Codecs : public testing::Test {
 private:
  const c10::InferenceMode inference_;
};

TEST_F(Codecs, MissingUnexpectedAndMisshapenWeightsAreNamedTogether) {
  const CodecFolder folder = ReadReferenceCodec("sd15-like");
  StateDict weights = folder.weights;
  weights.erase("decoder.conv_in.bias");
  weights["quant_conv.weight"] = at::zeros({8, 4, 1, 1});
  weights["encoder.conv_out.bias"] = at::zeros({8}, at::kLong);
  weights["surprise"] = at::zeros({1});
  EXPECT_THAT(Violations(folder, weights),
              UnorderedElementsAre(
                  Violation("decoder.conv_in.bias", "missing, expected [16]"),
                  Violation("quant_conv.weight", "has shape [8, 4, 1, 1], expected [8, 8, 1, 1]"),
                  Violation("encoder.conv_out.bias", "not a floating-point"),
                  Violation("surprise", "unexpected")));
}

TEST_F(Codecs, EveryWeightIsNeeded) {
  for (const std::string pipeline : {"sd15-like", "tiny-vae", "ldm-like"}) {
    const CodecFolder folder = ReadReferenceCodec(pipeline);
    for (const auto& [left_out, tensor] : folder.weights) {
      StateDict weights = folder.weights;
      weights.erase(left_out);
      EXPECT_THAT(Violations(folder, weights), SizeIs(1)) << pipeline << " without " << left_out;
    }
  }
}

TEST_F(Codecs, SpecSaysWhatTheCodecTakes) {
  const CodecFolder folder = ReadReferenceCodec("sd15-like");
  const CodecSpec spec = LoadCodec(folder)->spec();
  EXPECT_EQ(spec.picture_channels, 3);
  EXPECT_EQ(spec.latent_channels, 4);
  EXPECT_EQ(spec.factor, 2);
  EXPECT_TRUE(spec.samples_latents);
  EXPECT_EQ(spec.LatentShape(32, 48), (SampleShape{4, 16, 24}));
  int64_t parameters = 0;
  for (const auto& [name, tensor] : folder.weights) parameters += tensor.numel();
  EXPECT_EQ(spec.num_parameters, parameters);
  EXPECT_EQ(LoadCodec(ReadReferenceCodec("tiny-vae"))->spec().factor, 4);
  EXPECT_FALSE(LoadCodec(ReadReferenceCodec("tiny-vae"))->spec().samples_latents);
  EXPECT_EQ(RandomCodec(R"({"_class_name": "VQModel", "norm_num_groups": 4, "vq_embed_dim": 5})")
                ->spec()
                .latent_channels,
            5);
}

TEST_F(Codecs, AttentionMayBePointwiseConvolutions) {
  const CodecFolder folder = ReadReferenceCodec("sd21-v-like");
  CodecFolder as_convolutions = folder;
  int converted = 0;
  for (auto& [name, tensor] : as_convolutions.weights) {
    if (name.find("attentions") == std::string::npos || tensor.dim() != 2) continue;
    tensor = tensor.unsqueeze(2).unsqueeze(3);
    ++converted;
  }
  EXPECT_EQ(converted, 8);
  const at::Tensor x = Normal({1, 4, 5, 7}, 1);
  EXPECT_TRUE(at::equal(LoadCodec(as_convolutions)->Decode(x), LoadCodec(folder)->Decode(x)));
}

TEST_F(Codecs, OptionalPartsMayBeLeftOut) {
  const auto parameters = [](const std::string& entries) {
    const auto codec = RandomCodec(SmallKL(entries));
    const at::Tensor decoded = codec->Decode(Normal({1, 4, 3, 5}, 1));
    EXPECT_EQ(decoded.sizes(), (std::vector<int64_t>{1, 3, 6, 10}));
    const at::Tensor latents = codec->Encode(decoded.clamp(-1, 1), {});
    EXPECT_EQ(latents.sizes(), (std::vector<int64_t>{1, 4, 3, 5}));
    return codec->spec().num_parameters;
  };
  const int64_t all = parameters("");
  EXPECT_EQ(all - parameters(R"("use_quant_conv": false,)"), 8 * 8 + 8);
  EXPECT_EQ(all - parameters(R"("use_post_quant_conv": false,)"), 4 * 4 + 4);
  const int64_t attention = 4 * (16 * 16 + 16) + 2 * 16;  // of the middle
  EXPECT_EQ(all - parameters(R"("mid_block_add_attention": false,)"), 2 * attention);
}

TEST_F(Codecs, LevelsMayHaveAttention) {
  const std::string plain = R"({"_class_name": "VQModel", "block_out_channels": [8, 8],
      "norm_num_groups": 4, "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
      "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"]})";
  std::string attentive = plain;
  attentive.replace(attentive.rfind("\"DownEncoder"), 1, "\"Attn");
  attentive.replace(attentive.find("\"UpDecoder"), 1, "\"Attn");
  const auto codec = RandomCodec(attentive);
  EXPECT_EQ(codec->spec().num_parameters - RandomCodec(plain)->spec().num_parameters,
            3 * (4 * (8 * 8 + 8) + 2 * 8));
  EXPECT_TRUE(codec->Decode(Normal({1, 3, 3, 5}, 1)).isfinite().all().item<bool>());
}

TEST_F(Codecs, StatisticsCentreLatentsAndAreLeftOutOnRequest) {
  const CodecFolder folder = ReadReferenceCodec("sdxl-latent-statistics");
  const auto codec = LoadCodec(folder), plain = LoadCodec(folder, {.use_statistics = false});
  const at::Tensor mean = at::tensor({-1.6, 0.9, 0.3, 1.1}, at::kFloat).view({1, 4, 1, 1});
  const at::Tensor std = at::tensor({8.4, 5.9, 6.8, 5.3}, at::kFloat).view({1, 4, 1, 1});
  const at::Tensor pictures = Uniform({2, 3, 8, 10}, 1), noise = Normal({2, 4, 4, 5}, 2);
  const at::Tensor scaled = plain->Encode(pictures, noise);  // the factor is 0.5
  EXPECT_LE(MaxDifference(codec->Encode(pictures, noise), (scaled / 0.5 - mean) * 0.5 / std), 1e-6);
  EXPECT_TRUE(at::equal(codec->EncodeWithoutStatistics(pictures, noise), scaled));
  EXPECT_LE(MaxDifference(codec->Decode((scaled / 0.5 - mean) * 0.5 / std), plain->Decode(scaled)),
            1e-5);
}

TEST_F(Codecs, TheShiftFactorIsUsedOnRequest) {
  const std::string json = SmallKL(R"("shift_factor": 0.25, "scaling_factor": 0.5,)");
  const auto plain = RandomCodec(json), shifted = RandomCodec(json, {.use_shift_factor = true});
  const at::Tensor pictures = Uniform({1, 3, 4, 6}, 1);
  const at::Tensor scaled = plain->Encode(pictures, {});
  EXPECT_LE(MaxDifference(shifted->Encode(pictures, {}), (scaled / 0.5 - 0.25) * 0.5), 1e-6);
  EXPECT_LE(MaxDifference(shifted->Decode(shifted->Encode(pictures, {})), plain->Decode(scaled)),
            1e-5);
}

TEST_F(Codecs, EncodingAddsNoiseTimesTheDeviation) {
  const auto codec = LoadCodec(ReadReferenceCodec("sdxl-like"));
  const at::Tensor pictures = Uniform({2, 3, 8, 8}, 1), noise = Normal({2, 4, 4, 4}, 2);
  const at::Tensor mean = codec->Encode(pictures, {});
  const at::Tensor above = codec->Encode(pictures, at::ones_like(noise));
  EXPECT_TRUE((above > mean).all().item<bool>());
  EXPECT_LE(MaxDifference(codec->Encode(pictures, noise), mean + (above - mean) * noise), 1e-5);
}

TEST_F(Codecs, ThatOverflowInHalfStayInFloat) {
  const auto careful = RandomCodec(SmallKL(""));
  EXPECT_EQ(careful->To(at::kCPU, at::kHalf), careful);
  EXPECT_EQ(careful->To(at::kCPU, at::kBFloat16)->dtype(), at::kBFloat16);
  const auto bold = RandomCodec(SmallKL(R"("force_upcast": false,)"));
  EXPECT_EQ(bold->To(at::kCPU, at::kHalf)->dtype(), at::kHalf);
}

TEST_F(Codecs, HalfPrecisionIsCloseToFloat) {
  for (const std::string pipeline : {"sdxl-like", "tiny-vae"}) {
    const auto codec = LoadCodec(ReadReferenceCodec(pipeline));
    const auto half = codec->To(at::kCPU, at::kBFloat16);
    EXPECT_EQ(half->To(at::kCPU, at::kBFloat16), half);
    const at::Tensor x = Normal({2, 4, 4, 6}, 1) * 0.2;
    const at::Tensor decoded = half->Decode(x);
    EXPECT_EQ(decoded.scalar_type(), at::kFloat);
    EXPECT_LE(MaxDifference(decoded, codec->Decode(x)), 0.1) << pipeline;
    const at::Tensor latents = half->Encode(decoded, {});
    EXPECT_EQ(latents.scalar_type(), at::kFloat);
    EXPECT_LE(MaxDifference(latents, codec->Encode(decoded, {})), 0.2) << pipeline;
  }
}

TEST_F(Codecs, TheLoaderKeepsNoHoldOfTheWeightsItWasGiven) {
  for (const std::string pipeline : {"sd15-like", "tiny-vae", "ldm-like"}) {
    CodecFolder folder = ReadReferenceCodec(pipeline);
    for (auto& [name, tensor] : folder.weights) tensor = tensor.to(at::kFloat).clone();
    const auto codec = LoadCodec(folder);
    const at::Tensor x = Normal({1, codec->spec().latent_channels, 3, 3}, 1);
    const at::Tensor before = codec->Decode(x);
    for (auto& [name, tensor] : folder.weights) tensor.zero_();
    EXPECT_TRUE(at::equal(codec->Decode(x), before)) << pipeline;
  }
}

TEST_F(Codecs, WrongShapesThrow) {
  const auto codec = LoadCodec(ReadReferenceCodec("sd15-like"));
  EXPECT_NO_THROW(codec->Encode(Uniform({1, 3, 4, 4}, 1), Normal({1, 4, 2, 2}, 1)));
  EXPECT_THROW(codec->Encode(Uniform({1, 3, 4, 5}, 1), {}), c10::Error);  // off the grid
  EXPECT_THROW(codec->Encode(Uniform({1, 4, 4, 4}, 1), {}), c10::Error);
  EXPECT_THROW(codec->Encode(Uniform({3, 4, 4}, 1), {}), c10::Error);
  EXPECT_THROW(codec->Encode(Uniform({0, 3, 4, 4}, 1), {}), c10::Error);
  EXPECT_THROW(codec->Encode({}, {}), c10::Error);
  EXPECT_THROW(codec->Encode(Uniform({1, 3, 4, 4}, 1).to(at::kDouble), {}), c10::Error);
  EXPECT_THROW(codec->Encode(Uniform({1, 3, 4, 4}, 1), Normal({1, 4, 4, 4}, 1)), c10::Error);
  EXPECT_THROW(codec->Decode(Normal({1, 3, 2, 2}, 1)), c10::Error);
  EXPECT_THROW(codec->Decode(Normal({1, 4, 0, 2}, 1)), c10::Error);
  EXPECT_THROW(codec->Decode(Normal({1, 4, 2, 2}, 1).to(at::kHalf)), c10::Error);
  EXPECT_THROW(codec->Decode({}), c10::Error);
}

TEST_F(Codecs, OnePixelAndOneLatentAreEnough) {
  for (const std::string& pipeline : ReferencePipelines()) {
    const auto codec = LoadCodec(ReadReferenceCodec(pipeline));
    const int64_t factor = codec->spec().factor;
    const at::Tensor decoded = codec->Decode(Normal({1, codec->spec().latent_channels, 1, 1}, 1));
    EXPECT_EQ(decoded.sizes(), (std::vector<int64_t>{1, 3, factor, factor}));
    EXPECT_TRUE(codec->Encode(decoded, {}).isfinite().all().item<bool>());
  }
}

TEST_F(Codecs, NewWeightsLoadAndDependOnTheSeedAlone) {
  for (const std::string pipeline : {"sd15-like", "tiny-vae", "ldm-like"}) {
    const AutoencoderConfig config = ParseConfig(ReadReferenceCodec(pipeline).config_json);
    const StateDict weights = InitializeCodec(config, 7), again = InitializeCodec(config, 7),
                    other = InitializeCodec(config, 8);
    const auto codec = CreateCodec(config, weights, {});
    ASSERT_TRUE(codec.ok()) << codec.status();
    EXPECT_EQ((*codec)->spec().num_parameters, CountCodecParameters(config));
    int differing = 0;
    for (const auto& [name, tensor] : weights) {
      EXPECT_TRUE(at::equal(tensor, again.at(name))) << name;
      if (!at::equal(tensor, other.at(name))) ++differing;
    }
    EXPECT_GT(differing, 0);
    const at::Tensor decoded =
        (*codec)->Decode(Normal({1, (*codec)->spec().latent_channels, 4, 4}, 1));
    EXPECT_GT(decoded.std().item<double>(), 1e-3) << pipeline;
  }
}

TEST_F(Codecs, OfPixelModelsChangeNothing) {
  const auto codec = IdentityCodec(3);
  const at::Tensor pictures = Uniform({2, 3, 5, 7}, 1);
  EXPECT_EQ(codec->spec().factor, 1);
  EXPECT_EQ(codec->spec().LatentShape(5, 7), (SampleShape{3, 5, 7}));
  EXPECT_TRUE(at::equal(codec->Encode(pictures, {}), pictures));
  EXPECT_TRUE(at::equal(codec->Decode(pictures), pictures));
  EXPECT_EQ(codec->To(at::kCPU, at::kFloat), codec);
  EXPECT_EQ(codec->To(at::kCPU, at::kHalf)->dtype(), at::kHalf);
  EXPECT_THROW(codec->Decode(Uniform({2, 4, 5, 7}, 1)), c10::Error);
}

}  // namespace
}  // namespace denoise
