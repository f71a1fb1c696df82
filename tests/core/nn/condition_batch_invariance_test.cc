// What batch_invariance_test.cc checks, for networks that read texts, which may differ in length.
#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "tests/core/nn/condition_checkpoints.h"

namespace denoise {
namespace {

// Nothing here is a multiple of a vector's length.
constexpr char kOddConfig[] = R"({
  "sample_size": [5, 7], "block_out_channels": [10, 15], "layers_per_block": 1,
  "norm_num_groups": 5, "attention_head_dim": 5, "cross_attention_dim": 11,
  "transformer_layers_per_block": [1, 2],
  "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
  "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D"]})";

// The same with everything that is seldom used.
constexpr char kOddRareConfig[] = R"({
  "sample_size": [6, 10], "in_channels": 7, "out_channels": 3, "block_out_channels": [6, 9],
  "layers_per_block": [1, 2], "norm_num_groups": 3, "attention_head_dim": [2, 3], "act_fn": "mish",
  "cross_attention_dim": 13, "resnet_time_scale_shift": "scale_shift", "num_class_embeds": 4,
  "only_cross_attention": [true, false], "use_linear_projection": true, "conv_in_kernel": 5,
  "addition_embed_type": "text_time", "addition_time_embed_dim": 6, "time_cond_proj_dim": 10,
  "projection_class_embeddings_input_dim": 43, "downsample_padding": 0,
  "center_input_sample": true, "mid_block_scale_factor": 1.4142135,
  "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
  "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"]})";

// A level of real width, where kernels block what they sum over.
constexpr char kWideConfig[] = R"({
  "sample_size": 8, "block_out_channels": [320, 640], "layers_per_block": 1,
  "attention_head_dim": 8, "cross_attention_dim": 768,
  "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
  "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D"]})";

class ConditionBatchInvariance : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    threads_before_ = at::get_num_threads();
    at::set_num_threads(GetParam());
  }
  void TearDown() override { at::set_num_threads(threads_before_); }

 private:
  int threads_before_ = 1;
};

// Rows alone, where no text is padded.
at::Tensor Alone(const Network& network, const NetworkInput& input) {
  std::vector<at::Tensor> alone;
  for (int64_t row = 0; row < input.x.size(0); ++row) {
    NetworkInput one = Rows(input, row, 1);
    std::vector<int64_t>& lengths = one.conditions.text_lengths;
    if (!lengths.empty()) {
      one.conditions.text_states = one.conditions.text_states.narrow(1, 0, lengths[0]).clone();
      lengths.clear();
    }
    alone.push_back(network.Forward(one));
  }
  return at::cat(alone);
}

void ExpectBatchInvariant(const Network& network, const ConditionInputShape& shape) {
  const c10::InferenceMode inference;
  const NetworkInput input = RandomConditionInput(network.spec(), shape, 3);
  const at::Tensor expected = Alone(network, input);
  ASSERT_TRUE(expected.isfinite().all().item<bool>());
  const int64_t rows = input.x.size(0);
  for (int64_t batch = 1; batch <= rows; ++batch) {
    const int64_t first = 7 * batch % (rows - batch + 1);
    const at::Tensor output = network.Forward(Rows(input, first, batch));
    EXPECT_TRUE(at::equal(output, expected.narrow(0, first, batch)))
        << "batch of " << batch << " from row " << first << " at " << shape.height << " x "
        << shape.width;
  }
}

std::vector<int64_t> Mixed(size_t rows) {
  const std::vector<int64_t> lengths = {77, 154, 154, 3, 77, 77, 1, 231};
  std::vector<int64_t> mixed;
  for (size_t i = 0; i < rows; ++i) mixed.push_back(lengths[i % lengths.size()]);
  return mixed;
}

void ExpectBatchInvariant(const Network& network, int64_t height, int64_t width, size_t rows) {
  ExpectBatchInvariant(network, {height, width, std::vector<int64_t>(rows, 77)});
  ExpectBatchInvariant(network, {height, width, Mixed(rows)});
}

TEST_P(ConditionBatchInvariance, HoldsForTheReferenceCheckpoints) {
  for (const std::string& name : ConditionPipelines()) {
    SCOPED_TRACE(name);
    const auto network = LoadConditionNetwork(ReadPipelineUNet(name), OptionsFor(name));
    ExpectBatchInvariant(*network, 19, 11, 5);
  }
}

TEST_P(ConditionBatchInvariance, HoldsWhereNothingFillsAVector) {
  for (const char* config : {kOddConfig, kOddRareConfig}) {
    const auto network = RandomConditionNetwork(config);
    ExpectBatchInvariant(*network, 5, 7, 16);
    ExpectBatchInvariant(*network, 13, 3, 5);
  }
}

TEST_P(ConditionBatchInvariance, HoldsAtRealWidths) {
  const auto network = RandomConditionNetwork(kWideConfig);
  ExpectBatchInvariant(*network, 8, 8, 4);
  ExpectBatchInvariant(*network, 15, 9, 3);
}

TEST_P(ConditionBatchInvariance, HoldsInBfloat16) {
  for (const char* config : {kOddConfig, kOddRareConfig}) {
    const auto network = RandomConditionNetwork(config)->To(at::kCPU, at::kBFloat16);
    ExpectBatchInvariant(*network, 5, 7, 5);
  }
}

class ConditionBatchInvarianceWithoutOneDnn : public ConditionBatchInvariance {
 protected:
  ConditionBatchInvarianceWithoutOneDnn() { at::globalContext().setUserEnabledMkldnn(false); }
  ~ConditionBatchInvarianceWithoutOneDnn() override {
    at::globalContext().setUserEnabledMkldnn(true);
  }
};

TEST_P(ConditionBatchInvarianceWithoutOneDnn, Holds) {
  for (const char* config : {kOddConfig, kOddRareConfig}) {
    ExpectBatchInvariant(*RandomConditionNetwork(config), 5, 7, 5);
  }
}

INSTANTIATE_TEST_SUITE_P(Threads, ConditionBatchInvariance, testing::Values(1, 2));
INSTANTIATE_TEST_SUITE_P(Threads, ConditionBatchInvarianceWithoutOneDnn, testing::Values(1, 2));

}  // namespace
}  // namespace denoise
