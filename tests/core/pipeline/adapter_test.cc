// Adapters: what a file of them must be, and what they do to the rows of a batch.
#include "core/nn/adapter.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "core/base/field_violations.h"
#include "core/io/safetensors.h"
#include "core/pipeline/adapter_file.h"
#include "core/pipeline/adapter_plan.h"
#include "core/pipeline/parsed_pipeline.h"
#include "tests/core/io/io_testing.h"
#include "tests/core/nn/condition_checkpoints.h"
#include "tests/core/nn/test_checkpoints.h"

namespace denoise {
namespace {

constexpr char kPeft[] = "pytorch_lora_weights.safetensors";
constexpr char kQuery[] = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q";

const AdapterTarget& TargetOf(const std::string& folder) {
  static std::map<std::string, std::shared_ptr<const AdapterTarget>> targets;
  std::shared_ptr<const AdapterTarget>& target = targets[folder];
  if (target == nullptr) {
    const auto parsed = ParsedPipeline::OpenConfigs("tests/data/pipelines/" + folder);
    if (!parsed.ok()) throw std::runtime_error(parsed.status().ToString());
    target = parsed->description().adapters;
  }
  return *target;
}

std::string PathOf(const std::string& folder, const std::string& file) {
  return "tests/data/pipelines/" + folder + "/loras/" + file;
}

std::shared_ptr<const Adapter> Read(const std::string& folder, const std::string& file) {
  const auto adapter = ReadAdapter(PathOf(folder, file), TargetOf(folder));
  if (!adapter.ok()) throw std::runtime_error(adapter.status().ToString());
  return *adapter;
}

struct Case {
  const char* folder;
  const char* kohya;
};
constexpr Case kCases[] = {{"sd15-like", "kohya-conv.safetensors"},
                           {"sdxl-like", "kohya-sgm.safetensors"}};

NetworkInput RowOf(const NetworkInput& input, int64_t row) {
  return {.x = input.x.narrow(0, row, 1).clone(),
          .timesteps = input.timesteps.narrow(0, row, 1).clone(),
          .conditions = input.conditions.Narrow(row, 1)};
}

void ExpectRowsOfTheirOwn(const Network& network, const NetworkInput& adapted) {
  const at::Tensor together = network.Forward(adapted);
  for (int64_t row = 0; row < adapted.x.size(0); ++row) {
    EXPECT_TRUE(at::equal(together.narrow(0, row, 1), network.Forward(RowOf(adapted, row))))
        << "row " << row;
  }
}

TEST(Adapters, LeaveEachRowTheBitsThatItHasAlone) {
  const c10::InferenceMode inference;
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.folder);
    const auto network = LoadConditionNetwork(ReadPipelineUNet(c.folder), OptionsFor(c.folder));
    const auto peft = Read(c.folder, kPeft), kohya = Read(c.folder, c.kohya);
    NetworkInput input =
        RandomConditionInput(network->spec(), {13, 18, std::vector<int64_t>(7, 77)}, 5);
    const at::Tensor plain = network->Forward(input);
    input.conditions.adapters = {{{peft, 0.8}}, {},           {{peft, 0.8}},
                                 {{peft, 0.8}}, {{kohya, 1}}, {{peft, 0.5}, {kohya, 0.7}},
                                 {{peft, 0}}};
    ExpectRowsOfTheirOwn(*network, input);
    const at::Tensor adapted = network->Forward(input);
    EXPECT_TRUE(at::equal(adapted[1], plain[1]));
    EXPECT_TRUE(at::equal(adapted[6], plain[6]));
    for (const int64_t row : {0, 2, 3, 4, 5}) {
      EXPECT_GT((adapted[row] - plain[row]).abs().max().item<double>(), 0.01) << row;
    }
    // Texts of other lengths are other runs of rows.
    NetworkInput mixed =
        RandomConditionInput(network->spec(), {8, 8, {77, 154, 154, 77, 77, 3, 3}}, 6);
    mixed.conditions.adapters = input.conditions.adapters;
    const at::Tensor together = network->Forward(mixed);
    NetworkInput last = RowOf(mixed, 5);
    last.conditions.text_states = last.conditions.text_states.narrow(1, 0, 3).clone();
    last.conditions.text_lengths.clear();
    EXPECT_TRUE(at::equal(together.narrow(0, 5, 1), network->Forward(last)));
    ExpectRowsOfTheirOwn(*network->To(at::kCPU, at::kBFloat16), input);
  }
}

// W + scale * alpha / rank * up * down, in the checkpoint itself.
void Merge(const AppliedAdapter& applied, StateDict& weights) {
  for (const auto& [name, pair] : applied.adapter->network()) {
    at::Tensor& weight = weights.at(name + ".weight");
    const at::Tensor change = at::mm(pair.up, pair.down.flatten(1)).view_as(weight);
    weight = weight.to(at::kFloat) + change * (applied.scale * pair.factor);
  }
}

// Makes attention less sharp. That of these random weights amplifies rounding 10^5 times.
void Soften(StateDict& weights) {
  for (auto& [name, weight] : weights) {
    const bool norm =
        name.find(".norm1.") != std::string::npos || name.find(".norm2.") != std::string::npos;
    if (norm && name.find("transformer_blocks") != std::string::npos) {
      weight = weight.to(at::kFloat) * 0.01;
    }
  }
}

TEST(Adapters, DoWhatMergedWeightsDo) {
  const c10::InferenceMode inference;
  for (const Case& c : kCases) {
    UNetFolder folder = ReadPipelineUNet(c.folder);
    Soften(folder.weights);
    const auto network = LoadConditionNetwork(folder, OptionsFor(c.folder));
    const AppliedAdapters both = {{Read(c.folder, kPeft), 0.5}, {Read(c.folder, c.kohya), -0.7}};
    for (const AppliedAdapter& applied : both) Merge(applied, folder.weights);
    const auto merged = LoadConditionNetwork(folder, OptionsFor(c.folder));
    NetworkInput input = RandomConditionInput(network->spec(), {9, 16, {77, 77}}, 7);
    const at::Tensor expected = merged->Forward(input);
    input.conditions.adapters = {both, both};
    const at::Tensor output = network->Forward(input);
    EXPECT_LT((output - expected).abs().max().item<double>(),
              1e-4 * expected.abs().mean().item<double>());
  }
}

// Runs of rows with the same adapters are one product where rows need not keep their bits.
TEST(Adapters, AreAppliedToRunsOfRows) {
  const c10::InferenceMode inference;
  UNetFolder folder = ReadPipelineUNet("sd15-like");
  const auto network = LoadConditionNetwork(folder, OptionsFor("sd15-like"));
  UNet2DConditionOptions options = OptionsFor("sd15-like");
  options.batch_invariant = false;
  const auto in_runs = LoadConditionNetwork(folder, options);
  const auto peft = Read("sd15-like", kPeft), kohya = Read("sd15-like", "kohya-conv.safetensors");
  NetworkInput input = RandomConditionInput(network->spec(), {13, 18, {77, 77, 77, 77, 77}}, 5);
  input.conditions.adapters = {
      {{peft, 0.8}}, {{peft, 0.8}}, {}, {{kohya, 1}, {peft, -0.5}}, {{kohya, 1}, {peft, -0.5}}};
  const at::Tensor expected = network->Forward(input), output = in_runs->Forward(input);
  EXPECT_LT((output - expected).abs().max().item<double>(),
            1e-4 * expected.abs().mean().item<double>());
}

TEST(Adapters, KeepOneCopyForEachKindOfNumbers) {
  const auto adapter = Read("sd15-like", kPeft);
  EXPECT_EQ(adapter->On(at::kCPU, at::kFloat), adapter);
  const auto half = adapter->On(at::kCPU, at::kHalf);
  EXPECT_EQ(adapter->On(at::kCPU, at::kHalf), half);
  EXPECT_EQ(half->id(), adapter->id());
  EXPECT_EQ(2 * half->bytes(), adapter->bytes());
  EXPECT_NE(Read("sd15-like", kPeft)->id(), adapter->id());
}

// A file that is almost right.
class AdapterFile : public testing::Test {
 protected:
  AdapterFile() {
    const auto file = SafetensorsFile::Open(PathOf("sd15-like", kPeft));
    metadata = file->header().metadata;
    for (const auto& [name, entry] : file->header().tensors) {
      tensors[name] = file->Get(name)->clone();
    }
  }

  ~AdapterFile() override { std::filesystem::remove(path_); }

  absl::Status Write() const { return ReadBack().status(); }

  absl::StatusOr<std::shared_ptr<const Adapter>> ReadBack() const {
    const absl::Status written = WriteSafetensors(path_, tensors, metadata);
    if (!written.ok()) return written;
    return ReadAdapter(path_, TargetOf("sd15-like"));
  }

  // The bytes that Write makes.
  std::string Bytes() const {
    EXPECT_TRUE(WriteSafetensors(path_, tensors, metadata).ok());
    return ReadFile(path_);
  }
  absl::StatusOr<std::shared_ptr<const Adapter>> ReadBytes(const std::string& bytes) const {
    std::ofstream(path_, std::ios::binary) << bytes;
    return ReadAdapter(path_, TargetOf("sd15-like"));
  }

  // Expects that the first violation is of `field`, and says `what`.
  void ExpectRefused(const std::string& field, const std::string& what) const {
    const absl::Status status = Write();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    const std::vector<FieldViolation> violations = GetFieldViolations(status);
    ASSERT_FALSE(violations.empty()) << status;
    EXPECT_EQ(violations[0].field, field);
    EXPECT_NE(violations[0].description.find(what), std::string::npos) << violations[0].description;
  }

  const std::string down_ = std::string(kQuery) + ".lora_A.weight";
  const std::string up_ = std::string(kQuery) + ".lora_B.weight";
  std::map<std::string, at::Tensor> tensors;
  std::map<std::string, std::string> metadata;

 private:
  const std::filesystem::path path_ =
      std::filesystem::path(testing::TempDir()) /
      (std::string(testing::UnitTest::GetInstance()->current_test_info()->name()) +
       ".adapter_test.safetensors");
};

TEST_F(AdapterFile, IsRead) { EXPECT_TRUE(Write().ok()) << Write(); }

TEST_F(AdapterFile, NeedsBothHalves) {
  tensors.erase(up_);
  ExpectRefused(down_, "has no up-projection");
}

TEST_F(AdapterFile, NeedsFiniteValues) {
  tensors[up_][0][0] = std::numeric_limits<float>::quiet_NaN();
  ExpectRefused(up_, "NaN");
}

TEST_F(AdapterFile, NeedsShapesOfTheModel) {
  tensors[down_] = at::ones({4, 25});
  ExpectRefused(down_, "has shape [4, 25], must have [4, 24]");
}

TEST_F(AdapterFile, NeedsOneRank) {
  tensors[up_] = at::ones({24, 3});
  ExpectRefused(up_, "has shape [24, 3], must have [24, 4]");
}

TEST_F(AdapterFile, HasABoundedRank) {
  tensors[down_] = at::ones({kMaxAdapterRank + 1, 24});
  ExpectRefused(down_, "must have a rank between 1 and 2048");
}

TEST_F(AdapterFile, NamesLayersOfTheModel) {
  tensors["unet.mid_block.attentions.7.proj_in.lora_A.weight"] = at::ones({4, 24});
  ExpectRefused("unet.mid_block.attentions.7.proj_in.lora_A.weight", "does not have");
}

TEST_F(AdapterFile, NamesEachLayerOnce) {
  tensors["lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight"] =
      at::ones({4, 24});
  ExpectRefused(down_, "changes the same layer as");
}

TEST_F(AdapterFile, HasOneAlphaForALayer) {
  tensors[std::string(kQuery) + ".alpha"] = at::ones({2});
  ExpectRefused(std::string(kQuery) + ".alpha", "must be one number");
}

TEST_F(AdapterFile, MayHaveWholeNumbersAsAlphas) {
  const std::string bytes = Bytes();
  const std::string alpha = std::string(kQuery) + ".alpha";
  uint64_t size = 0;
  std::memcpy(&size, bytes.data(), sizeof(size));
  nlohmann::json header = nlohmann::json::parse(bytes.substr(sizeof(size), size));
  const size_t end = bytes.size() - sizeof(size) - size;
  header[alpha] = {
      {"dtype", "I64"}, {"shape", nlohmann::json::array()}, {"data_offsets", {end, end + 8}}};
  const auto adapter =
      ReadBytes(SafetensorsBytes(header.dump(), bytes.substr(sizeof(size) + size) + HeaderSize(6)));
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  EXPECT_EQ((*adapter)->network().at(std::string(kQuery).substr(std::strlen("unet."))).factor, 1.5);
  // Only alphas are.
  header[down_]["dtype"] = "I32";
  const auto weights =
      ReadBytes(SafetensorsBytes(header.dump(), bytes.substr(sizeof(size) + size) + HeaderSize(6)));
  EXPECT_TRUE(absl::IsInvalidArgument(weights.status())) << weights.status();
}

TEST_F(AdapterFile, MayHaveThePrefixOfPeft) {
  std::map<std::string, at::Tensor> prefixed;
  for (const auto& [name, tensor] : tensors) prefixed["base_model.model." + name] = tensor;
  const auto plain = ReadBack();
  tensors = prefixed;
  const auto adapter = ReadBack();
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  EXPECT_EQ((*adapter)->network().size(), (*plain)->network().size());
  EXPECT_EQ((*adapter)->text(0).size(), (*plain)->text(0).size());
}

TEST_F(AdapterFile, IsOfNoOtherKind) {
  const std::pair<const char*, const char*> kinds[] = {
      {".dora_scale", "DoRA"},        {".lora_magnitude_vector.weight", "DoRA"},
      {".hada_w1_a", "LoHa"},         {".lokr_w1", "LoKr"},
      {".diff", "full difference"},   {".lora_mid.weight", "Tucker"},
      {".lora_B.bias", "with a bias"}};
  for (const auto& [suffix, kind] : kinds) {
    const std::string name = "unet.conv_in" + std::string(suffix);
    tensors[name] = at::ones({4});
    ExpectRefused(name, kind);
    tensors.erase(name);
  }
  tensors["unet.conv_in.something"] = at::ones({4});
  ExpectRefused("unet.conv_in.something", "is not part of a LoRA");
}

TEST_F(AdapterFile, HoldsSomething) {
  tensors.clear();
  EXPECT_TRUE(absl::IsInvalidArgument(Write())) << Write();
}

TEST_F(AdapterFile, HasMetadataThatMeansSomething) {
  metadata["lora_adapter_metadata"] = R"({"unet.lora_alpha": "six"})";
  ExpectRefused("lora_adapter_metadata.unet.lora_alpha", "must be a number");
  metadata["lora_adapter_metadata"] = R"({"unet.use_dora": true})";
  ExpectRefused("lora_adapter_metadata.unet.use_dora", "DoRA");
  metadata["lora_adapter_metadata"] = R"({"unet.alpha_pattern": {".*to_q": 2}})";
  ExpectRefused("lora_adapter_metadata.unet.alpha_pattern", "must be the name of a layer");
  metadata["lora_adapter_metadata"] = R"({"unet.alpha_pattern": {"to_q": 2,
              "mid_block.attentions.0.transformer_blocks.0.attn1.to_q": 3}})";
  ExpectRefused(down_, "has two alphas");
  metadata["lora_adapter_metadata"] = "[";
  ExpectRefused("lora_adapter_metadata", "not valid JSON");
}

TEST_F(AdapterFile, MayGiveSomeLayersAnotherAlpha) {
  metadata["lora_adapter_metadata"] =
      R"({"unet.lora_alpha": 6, "unet.use_rslora": true, "unet.alpha_pattern": {"attn1.to_q": 2}})";
  const auto adapter = ReadBack();
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  const std::string block = "mid_block.attentions.0.transformer_blocks.0.";
  EXPECT_EQ((*adapter)->network().at(block + "attn1.to_q").factor, 1);  // 2 / sqrt(4)
  EXPECT_EQ((*adapter)->network().at(block + "attn1.to_k").factor, 3);
  EXPECT_EQ((*adapter)->text(0).begin()->second.factor, 1);  // alpha is the rank
}

TEST(AdapterFiles, AreOfOneBase) {
  for (const char* file : {kPeft, "kohya-conv.safetensors"}) {
    const auto adapter = ReadAdapter(PathOf("sd15-like", file), TargetOf("sdxl-like"));
    EXPECT_TRUE(absl::IsInvalidArgument(adapter.status())) << adapter.status();
    const size_t violations = GetFieldViolations(adapter.status()).size();
    EXPECT_GT(violations, 0);
    EXPECT_LE(violations, 20);
  }
}

}  // namespace
}  // namespace denoise
