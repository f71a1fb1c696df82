// A row's result is bit for bit the same whatever shares its batch and wherever the row lies in it;
// with one thread as with two.
#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "core/codec/models.h"
#include "tests/core/codec/test_codecs.h"

namespace denoise {
namespace {

constexpr int64_t kRows = 7;

// Nothing here fills a vector.
constexpr char kOddKL[] = R"({"_class_name": "AutoencoderKL", "in_channels": 1, "out_channels": 1,
    "latent_channels": 1, "block_out_channels": [3, 9], "norm_num_groups": 3, "act_fn": "mish",
    "down_block_types": ["AttnDownEncoderBlock2D", "DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D", "AttnUpDecoderBlock2D"]})";
constexpr char kOddVQ[] = R"({"_class_name": "VQModel", "latent_channels": 5, "vq_embed_dim": 3,
    "num_vq_embeddings": 11, "block_out_channels": [7], "norm_num_groups": 1})";
constexpr char kOddTiny[] = R"({"_class_name": "AutoencoderTiny", "act_fn": "gelu",
    "encoder_block_out_channels": [5, 5], "num_encoder_blocks": [1, 0],
    "decoder_block_out_channels": [3, 3], "num_decoder_blocks": [1, 1]})";

class CodecBatchInvariance : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    threads_before_ = at::get_num_threads();
    at::set_num_threads(GetParam());
  }
  void TearDown() override { at::set_num_threads(threads_before_); }

 private:
  int threads_before_ = 1;
};

// `f` maps the rows [first, first + count) of an input, in memory of their own, to their results.
template <typename Function>
void ExpectRowsAlone(const Function& f) {
  std::vector<at::Tensor> alone;
  for (int64_t row = 0; row < kRows; ++row) alone.push_back(f(row, 1));
  const at::Tensor expected = at::cat(alone);
  ASSERT_TRUE(expected.isfinite().all().item<bool>());
  for (int64_t count = 2; count <= kRows; ++count) {
    const int64_t first = 5 * count % (kRows - count + 1);
    EXPECT_TRUE(at::equal(f(first, count), expected.narrow(0, first, count)))
        << "batch of " << count << " from row " << first;
  }
}

void ExpectBatchInvariant(const Codec& codec) {
  const c10::InferenceMode inference;
  const CodecSpec& spec = codec.spec();
  const int64_t h = 5, w = 7;
  const at::Tensor latents = Normal({kRows, spec.latent_channels, h, w}, 1);
  const at::Tensor noise = Normal({kRows, spec.latent_channels, h, w}, 2);
  const at::Tensor pictures =
      Uniform({kRows, spec.picture_channels, h * spec.factor, w * spec.factor}, 3);
  ExpectRowsAlone([&](int64_t first, int64_t count) {
    return codec.Decode(latents.narrow(0, first, count).clone());
  });
  ExpectRowsAlone([&](int64_t first, int64_t count) {
    return codec.Encode(pictures.narrow(0, first, count).clone(),
                        noise.narrow(0, first, count).clone());
  });
}

TEST_P(CodecBatchInvariance, HoldsForTheReferenceCheckpoints) {
  for (const std::string& name : ReferencePipelines()) {
    SCOPED_TRACE(name);
    ExpectBatchInvariant(*LoadCodec(ReadReferenceCodec(name)));
  }
}

TEST_P(CodecBatchInvariance, HoldsWhereNothingFillsAVector) {
  for (const char* config : {kOddKL, kOddVQ, kOddTiny}) {
    SCOPED_TRACE(config);
    ExpectBatchInvariant(*RandomCodec(config));
  }
}

TEST_P(CodecBatchInvariance, HoldsInBfloat16) {
  for (const char* config : {kOddKL, kOddVQ, kOddTiny}) {
    SCOPED_TRACE(config);
    ExpectBatchInvariant(*RandomCodec(config)->To(at::kCPU, at::kBFloat16));
  }
}

TEST_P(CodecBatchInvariance, HoldsForNearestCodes) {
  const at::Tensor latents = Normal({kRows, 3, 5, 7}, 1), codebook = Normal({13, 3}, 2);
  ExpectRowsAlone([&](int64_t first, int64_t count) {
    return codec::NearestCodes(latents.narrow(0, first, count), codebook);
  });
}

class CodecBatchInvarianceWithoutOneDnn : public CodecBatchInvariance {
 protected:
  CodecBatchInvarianceWithoutOneDnn() { at::globalContext().setUserEnabledMkldnn(false); }
  ~CodecBatchInvarianceWithoutOneDnn() override { at::globalContext().setUserEnabledMkldnn(true); }
};

TEST_P(CodecBatchInvarianceWithoutOneDnn, Holds) {
  for (const char* config : {kOddKL, kOddVQ, kOddTiny}) {
    SCOPED_TRACE(config);
    ExpectBatchInvariant(*RandomCodec(config));
  }
}

INSTANTIATE_TEST_SUITE_P(Threads, CodecBatchInvariance, testing::Values(1, 2));
INSTANTIATE_TEST_SUITE_P(Threads, CodecBatchInvarianceWithoutOneDnn, testing::Values(1, 2));

}  // namespace
}  // namespace denoise
