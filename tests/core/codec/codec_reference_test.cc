// What the Python library's autoencoders make of small checkpoints, one for each kind of pipeline.
#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/codec/models.h"
#include "tests/core/codec/test_codecs.h"

namespace denoise {
namespace {

constexpr double kTolerance = 1e-4;

// The largest relative error of a summary. Sums are relative to what a sum of random signs would
// be, if that is more than they are; single values to the mean magnitude.
double FingerprintError(const at::Tensor& output, const nlohmann::json& expected) {
  if (output.sizes().vec() != expected["shape"].get<std::vector<int64_t>>()) return INFINITY;
  const at::Tensor flat = output.to(at::kDouble).flatten();
  const at::Tensor wave = at::cos(at::arange(flat.numel(), at::kDouble) * 0.1);
  const double count = static_cast<double>(flat.numel()), abs_sum = expected["abs_sum"];
  double worst = 0;
  const auto compare = [&worst](double value, double reference, double scale) {
    const double error = std::abs(value - reference) / std::max(std::abs(reference), scale);
    worst = error <= worst ? worst : error;  // NaN is the worst
  };
  compare(flat.abs().sum().item<double>(), abs_sum, 0);
  compare(flat.sum().item<double>(), expected["sum"], abs_sum / std::sqrt(count));
  compare((flat * wave).sum().item<double>(), expected["cos_dot"], abs_sum / std::sqrt(count));
  const std::vector<double> first = expected["first16"], last = expected["last8"];
  for (size_t i = 0; i < first.size(); ++i) {
    compare(flat[static_cast<int64_t>(i)].item<double>(), first[i], abs_sum / count);
  }
  for (size_t i = 0; i < last.size(); ++i) {
    compare(flat[flat.numel() - static_cast<int64_t>(last.size() - i)].item<double>(), last[i],
            abs_sum / count);
  }
  return worst;
}

double ScalingFactor(const AutoencoderConfig& config) {
  return std::visit([](const auto& parsed) { return parsed.scaling.scaling_factor; }, config);
}

// The picture and the latents that the entries were computed from.
at::Tensor ReferencePictures() { return Uniform({1, 3, 32, 48}, 4); }
at::Tensor ReferenceLatents(const std::string& pipeline, const Codec& codec) {
  const at::Tensor z = Normal({1, codec.spec().latent_channels, 10, 12}, 4);
  return pipeline == "ldm-like" ? z * 40 : z;
}

class CodecReference : public testing::TestWithParam<std::string> {
 protected:
  void Report(const char* what, double error) {
    EXPECT_LE(error, kTolerance) << what;
    RecordProperty(what, testing::PrintToString(error));
  }
};

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
      Report("mean", FingerprintError(mean / factor, expected["mean"]));
      const at::Tensor above = codec->Encode(ReferencePictures(), at::ones_like(mean));
      Report("std", FingerprintError((above - mean) / factor, expected["std"]));
    } else {
      Report("latents", FingerprintError(mean / factor, expected["latents"]));
    }
    const at::Tensor z = ReferenceLatents(GetParam(), *codec);
    Report("decoded", FingerprintError(codec->Decode(z * factor), expected["decoded"]));
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
