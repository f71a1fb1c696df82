// What the Python library's autoencoders make of small checkpoints, one for each kind of pipeline.
#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "core/codec/models.h"
#include "tests/core/codec/test_codecs.h"
#include "tests/support/fingerprint.h"

namespace denoise {
namespace {

constexpr double kTolerance = 1e-4;

double ScalingFactor(const AutoencoderConfig& config) {
  return std::visit([](const auto& parsed) { return parsed.scaling.scaling_factor; }, config);
}

// The picture and the latents that the entries were computed from.
at::Tensor ReferencePictures() { return Uniform({1, 3, 32, 48}, 4); }
at::Tensor ReferenceLatents(const std::string& pipeline, const Codec& codec) {
  const at::Tensor z = Normal({1, codec.spec().latent_channels, 10, 12}, 4);
  return pipeline == "ldm-like" ? z * 40 : z;
}

class CodecReference : public testing::TestWithParam<std::string> {};

// Scaled latents are compared with the unscaled ones of the file, without statistics.
TEST_P(CodecReference, EncodesAndDecodesLikeTheLibrary) {
  const c10::InferenceMode inference;
  const CodecFolder folder = ReadReferenceCodec(GetParam());
  const double factor = ScalingFactor(ParseConfig(folder.config_json));
  const nlohmann::json expected = ReadExpectedCodec(GetParam());
  for (const bool batch_invariant : {true, false}) {
    SCOPED_TRACE(testing::Message() << "batch_invariant " << batch_invariant);
    const auto codec =
        LoadCodec(folder, {.batch_invariant = batch_invariant, .use_statistics = false});
    const at::Tensor mean = codec->Encode(ReferencePictures(), {});
    EXPECT_EQ(codec->spec().samples_latents, expected.contains("std"));
    if (codec->spec().samples_latents) {
      ExpectFingerprint(mean / factor, expected["mean"], kTolerance);
      const at::Tensor above = codec->Encode(ReferencePictures(), at::ones_like(mean));
      ExpectFingerprint((above - mean) / factor, expected["std"], kTolerance);
    } else {
      ExpectFingerprint(mean / factor, expected["latents"], kTolerance);
    }
    const at::Tensor z = ReferenceLatents(GetParam(), *codec);
    ExpectFingerprint(codec->Decode(z * factor), expected["decoded"], kTolerance);
  }
}

INSTANTIATE_TEST_SUITE_P(Pipelines, CodecReference, testing::ValuesIn(ReferencePipelines()),
                         [](const auto& pipeline) {
                           std::string name = pipeline.param;
                           std::erase(name, '-');
                           return name;
                         });

TEST(VQModel, RoundsToTheCodesOfTheLibrary) {
  const CodecFolder folder = ReadReferenceCodec("ldm-like");
  const at::Tensor latents = ReferenceLatents("ldm-like", *LoadCodec(folder));
  const at::Tensor codes =
      codec::NearestCodes(latents, folder.weights.at("quantize.embedding.weight"));
  const std::vector<int64_t> expected = ReadExpectedCodec("ldm-like")["codes"];
  EXPECT_TRUE(at::equal(codes.flatten(), at::tensor(expected, at::kLong)));
}

}  // namespace
}  // namespace denoise
