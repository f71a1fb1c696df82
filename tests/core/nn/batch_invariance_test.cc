// A row's output is bit for bit the same whatever shares its batch, however large that is, and
// wherever the row lies in it; with one thread as with two.
#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "tests/core/nn/test_checkpoints.h"

namespace denoise {
namespace {

constexpr int64_t kMaxBatch = 24;

// Nothing here is a multiple of a vector's length: one level of 5x7 pixels, 10 channels.
constexpr char kOddConfig[] = R"({
  "sample_size": [5, 7], "block_out_channels": [10], "layers_per_block": 1, "norm_num_groups": 5,
  "attention_head_dim": 5, "down_block_types": ["AttnDownBlock2D"],
  "up_block_types": ["AttnUpBlock2D"], "num_class_embeds": 3})";

// The same with everything that is seldom used.
constexpr char kOddRareConfig[] = R"({
  "sample_size": [6, 10], "in_channels": 1, "out_channels": 1, "block_out_channels": [6, 9],
  "layers_per_block": 1, "norm_num_groups": 3, "attention_head_dim": null, "act_fn": "mish",
  "time_embedding_type": "fourier", "resnet_time_scale_shift": "scale_shift",
  "class_embed_type": "timestep", "mid_block_scale_factor": 1.4142135,
  "downsample_padding": 0, "downsample_type": "resnet", "upsample_type": "resnet",
  "down_block_types": ["ResnetDownsampleBlock2D", "AttnDownBlock2D"],
  "up_block_types": ["AttnUpBlock2D", "UpBlock2D"]})";

class BatchInvariance : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    threads_before_ = at::get_num_threads();
    at::set_num_threads(GetParam());
  }
  void TearDown() override { at::set_num_threads(threads_before_); }

 private:
  int threads_before_ = 1;
};

void ExpectBatchInvariant(const Network& network) {
  const c10::InferenceMode inference;
  const NetworkInput input = RandomInput(network, kMaxBatch, 3);
  std::vector<at::Tensor> alone;
  for (int64_t row = 0; row < kMaxBatch; ++row) {
    alone.push_back(network.Forward(Rows(input, row, 1)));
  }
  const at::Tensor expected = at::cat(alone);
  ASSERT_TRUE(expected.isfinite().all().item<bool>());
  for (int64_t batch = 1; batch <= kMaxBatch; ++batch) {
    const int64_t first = 7 * batch % (kMaxBatch - batch + 1);
    const at::Tensor output = network.Forward(Rows(input, first, batch));
    EXPECT_TRUE(at::equal(output, expected.narrow(0, first, batch)))
        << "batch of " << batch << " from row " << first;
  }
}

TEST_P(BatchInvariance, HoldsForTheReferenceCheckpoints) {
  for (const std::string& name : ReferenceCheckpoints()) {
    SCOPED_TRACE(name);
    ExpectBatchInvariant(*LoadNetwork(ReadReferenceUNet(name)));
  }
}

TEST_P(BatchInvariance, HoldsForTheStarterModel) {
  ExpectBatchInvariant(*LoadNetwork(ReadUNetFolder("deploy/models/emoji-32")));
}

TEST_P(BatchInvariance, HoldsWhereNothingFillsAVector) {
  ExpectBatchInvariant(*RandomNetwork(kOddConfig));
  ExpectBatchInvariant(*RandomNetwork(kOddRareConfig));
}

TEST_P(BatchInvariance, HoldsInBfloat16) {
  for (const char* config : {kOddConfig, kOddRareConfig}) {
    ExpectBatchInvariant(*RandomNetwork(config)->To(at::kCPU, at::kBFloat16));
  }
}

class BatchInvarianceWithoutOneDnn : public BatchInvariance {
 protected:
  BatchInvarianceWithoutOneDnn() { at::globalContext().setUserEnabledMkldnn(false); }
  ~BatchInvarianceWithoutOneDnn() override { at::globalContext().setUserEnabledMkldnn(true); }
};

TEST_P(BatchInvarianceWithoutOneDnn, Holds) {
  for (const char* config : {kOddConfig, kOddRareConfig}) {
    ExpectBatchInvariant(*RandomNetwork(config));
  }
}

INSTANTIATE_TEST_SUITE_P(Threads, BatchInvariance, testing::Values(1, 2));
INSTANTIATE_TEST_SUITE_P(Threads, BatchInvarianceWithoutOneDnn, testing::Values(1, 2));

}  // namespace
}  // namespace denoise
