#include <ATen/ops/arange.h>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "core/io/weights.h"
#include "tests/core/io/io_testing.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr char kPlain[] = "diffusion_pytorch_model.safetensors";
constexpr char kHalf[] = "diffusion_pytorch_model.fp16.safetensors";
constexpr char kIndex[] = "diffusion_pytorch_model.safetensors.index.json";

class WeightsTest : public testing::Test {
 protected:
  void Write(const std::string& file, const StateDict& tensors) {
    ASSERT_TRUE(WriteSafetensors(folder_.path() / file, tensors).ok());
  }

  void WriteIndex(const nlohmann::json& weight_map) {
    WriteFile(folder_.path() / kIndex,
              nlohmann::json{{"metadata", {}}, {"weight_map", weight_map}}.dump());
  }

  // a and b in shards of their own, as the index says.
  void WriteShards() {
    Write("one.safetensors", {{"a", at::arange(3, at::kHalf)}});
    Write("two.safetensors", {{"b", at::arange(4, at::kFloat)}});
    WriteIndex({{"a", "one.safetensors"}, {"b", "two.safetensors"}});
  }

  absl::StatusOr<Weights> Load() { return OpenWeights(*ModelFolder::Open(folder_.path()), ""); }

  TempDir folder_;
};

TEST_F(WeightsTest, ComeFromOneFile) {
  Write(kPlain, {{"a", at::arange(3, at::kHalf)}, {"b", at::arange(4, at::kDouble)}});
  const auto weights = Load();
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ(weights->file, kPlain);
  ASSERT_EQ(weights->tensors.size(), 2u);
  EXPECT_TRUE(weights->tensors.at("a").Get()->equal(at::arange(3, at::kHalf)));
  EXPECT_TRUE(weights->tensors.at("b").Get()->equal(at::arange(4, at::kDouble)));
}

TEST_F(WeightsTest, HalfPrecisionVariantIsTakenWhereThereIsNoOther) {
  Write(kHalf, {{"a", at::arange(3, at::kHalf)}});
  EXPECT_EQ(Load()->file, kHalf);
  Write(kPlain, {{"a", at::arange(3, at::kFloat)}});
  EXPECT_EQ(Load()->file, kPlain);
}

TEST_F(WeightsTest, ComeFromShards) {
  WriteShards();
  const auto weights = Load();
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ(weights->file, kIndex);
  EXPECT_EQ(weights->files.size(), 2u);
  ASSERT_EQ(weights->tensors.size(), 2u);
  EXPECT_TRUE(weights->tensors.at("a").Get()->equal(at::arange(3, at::kHalf)));
  EXPECT_TRUE(weights->tensors.at("b").Get()->equal(at::arange(4, at::kFloat)));
}

TEST_F(WeightsTest, ShardsHoldExactlyWhatTheIndexSays) {
  WriteShards();
  WriteIndex({{"a", "one.safetensors"}, {"b", "two.safetensors"}, {"c", "two.safetensors"}});
  ExpectStatus(Load().status(), kInvalid, "two.safetensors: tensor \"c\" of the index is missing");
  WriteIndex({{"a", "one.safetensors"}});
  EXPECT_TRUE(Load().ok());  // the other file is none of the index's
  Write("one.safetensors", {{"a", at::arange(3, at::kHalf)}, {"extra", at::arange(1, at::kHalf)}});
  ExpectStatus(Load().status(), kInvalid, "one.safetensors: tensor \"extra\" is not in the index");
  WriteIndex({{"a", "none.safetensors"}});
  ExpectStatus(Load().status(), absl::StatusCode::kNotFound, "none.safetensors");
}

TEST_F(WeightsTest, ShardsLieInTheSameFolder) {
  WriteShards();
  const std::string nul("one.safetensors\0.safetensors", 28);
  for (const std::string& name :
       {std::string("../one.safetensors"), (folder_.path() / "one.safetensors").string(),
        std::string("./one.safetensors"), std::string("a/b.safetensors"),
        std::string("a\\b.safetensors"), std::string(".."), std::string(""),
        std::string(".safetensors"), std::string("model_index.json"),
        std::string(300, 'a') + ".safetensors", nul}) {
    WriteIndex({{"a", name}});
    ExpectStatus(Load().status(), kInvalid, "which is not a plain name of a safetensors file");
  }
}

TEST_F(WeightsTest, BrokenIndexesAreRefusedByName) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "is empty"},
      {"{", "not valid JSON"},
      {"[]", "has no object weight_map"},
      {"{}", "has no object weight_map"},
      {R"({"weight_map": []})", "has no object weight_map"},
      {R"({"weight_map": {}})", "weight_map is empty"},
      {R"({"weight_map": {"a": 1}})", "\"a\" names no file"},
      {R"({"weight_map": {"a": "one.safetensors", "a": "two.safetensors"}})",
       "the key \"a\" is there twice"},
  };
  for (const auto& [text, message] : cases) {
    WriteFile(folder_.path() / kIndex, text);
    ExpectStatus(Load().status(), kInvalid, std::string(kIndex) + ": ");
    ExpectStatus(Load().status(), kInvalid, message);
  }
}

TEST_F(WeightsTest, ManyShardsAreTooMany) {
  nlohmann::json weight_map;
  for (int i = 0; i < 257; ++i) weight_map[absl::StrCat("t", i)] = absl::StrCat(i, ".safetensors");
  WriteIndex(weight_map);
  ExpectStatus(Load().status(), kInvalid, "more than 256 files");
}

TEST_F(WeightsTest, PickledWeightsAreNeverRead) {
  ExpectStatus(Load().status(), absl::StatusCode::kNotFound, "diffusion_pytorch_model.safetensors");
  for (const char* file :
       {"diffusion_pytorch_model.bin", "model.ckpt", "diffusion_flax_model.msgpack"}) {
    WriteFile(folder_.path() / file, "\x80\x02");
    ExpectStatus(Load().status(), absl::StatusCode::kNotFound,
                 absl::StrCat("only ", file, ", a format that is never read"));
    std::filesystem::remove(folder_.path() / file);
  }
  WriteFile(folder_.path() / "model.safetensors", "");
  ExpectStatus(Load().status(), absl::StatusCode::kNotFound, "model.safetensors; rename that");
}

TEST_F(WeightsTest, WhatIsThereInTheirPlaceIsNamed) {
  const std::pair<std::string, std::string> cases[] = {
      {"diffusion_pytorch_model.bf16.safetensors", "model.bf16.safetensors; rename that"},
      {"diffusion_pytorch_model.non_ema.safetensors", "model.non_ema.safetensors; rename that"},
      {"diffusion_pytorch_model.fp16.bin", "only diffusion_pytorch_model.fp16.bin, a format"},
      {"diffusion_pytorch_model-00001-of-00002.safetensors",
       "one of several, without diffusion_pytorch_model.safetensors.index.json"},
      {"1a2b.incomplete", "a download that has not ended"},
      {"README.md", "there is no such file"},
  };
  for (const auto& [file, told] : cases) {
    WriteFile(folder_.path() / file, "");
    ExpectStatus(Load().status(), absl::StatusCode::kNotFound, told);
    std::filesystem::remove(folder_.path() / file);
  }
}

TEST_F(WeightsTest, IntegerTensorsAreRefused) {
  WriteFile(folder_.path() / kPlain,
            SafetensorsBytes(R"({"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]}})", "1234"));
  ExpectStatus(Load().status(), kInvalid,
               "diffusion_pytorch_model.safetensors: tensor \"a\" is of dtype I8");
}

}  // namespace
}  // namespace denoise
