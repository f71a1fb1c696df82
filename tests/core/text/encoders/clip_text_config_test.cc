#include "core/text/encoders/clip_text_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/field_violations.h"

namespace denoise {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string Refusal(std::string_view json) {
  const auto config = ParseClipTextConfig(json);
  EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument) << json;
  return std::string(config.status().message());
}

TEST(ClipTextConfig, HasTheLibrarysDefaults) {
  const ClipTextConfig config = ParseClipTextConfig("{}").value();
  EXPECT_EQ(config.vocab_size, 49408);
  EXPECT_EQ(config.hidden_size, 512);
  EXPECT_EQ(config.intermediate_size, 2048);
  EXPECT_EQ(config.projection_dim, 512);
  EXPECT_EQ(config.num_hidden_layers, 12);
  EXPECT_EQ(config.num_attention_heads, 8);
  EXPECT_EQ(config.max_position_embeddings, 77);
  EXPECT_EQ(config.hidden_act, TextActivation::kQuickGelu);
  EXPECT_EQ(config.layer_norm_eps, 1e-5);
  EXPECT_EQ(config.eos_token_id, 49407);
  EXPECT_EQ(config.with_projection, std::nullopt);
}

TEST(ClipTextConfig, ReadsWhatAPublishedFileSays) {
  const ClipTextConfig config = ParseClipTextConfig(R"({
      "_name_or_path": "x", "architectures": ["CLIPTextModelWithProjection"],
      "attention_dropout": 0.0, "bos_token_id": 0, "dropout": 0.0, "eos_token_id": 2,
      "hidden_act": "gelu", "hidden_size": 1280, "initializer_factor": 1.0,
      "initializer_range": 0.02, "intermediate_size": 5120, "layer_norm_eps": 1e-05,
      "max_position_embeddings": 77, "model_type": "clip_text_model", "num_attention_heads": 20,
      "num_hidden_layers": 32, "pad_token_id": 1, "projection_dim": 1280,
      "torch_dtype": "float16", "transformers_version": "4.32.0.dev0", "vocab_size": 49408})")
                                    .value();
  EXPECT_EQ(config.hidden_size, 1280);
  EXPECT_EQ(config.num_hidden_layers, 32);
  EXPECT_EQ(config.num_attention_heads, 20);
  EXPECT_EQ(config.projection_dim, 1280);
  EXPECT_EQ(config.hidden_act, TextActivation::kGelu);
  EXPECT_EQ(config.eos_token_id, 2);
  EXPECT_EQ(config.with_projection, true);
  EXPECT_TRUE(config.ignored_keys.empty());
  EXPECT_THAT(ParseClipTextConfig(R"({"top_k": 50})").value().ignored_keys, ElementsAre("top_k"));
}

TEST(ClipTextConfig, NamesEveryWrongKey) {
  EXPECT_THAT(Refusal("[]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(Refusal(R"({"hidden_size": 0})"), HasSubstr("hidden_size"));
  EXPECT_THAT(Refusal(R"({"hidden_size": 1e30})"), HasSubstr("hidden_size"));
  EXPECT_THAT(Refusal(R"({"num_hidden_layers": 1000})"), HasSubstr("num_hidden_layers"));
  EXPECT_THAT(Refusal(R"({"num_attention_heads": 7})"),
              HasSubstr("must divide hidden_size, which is 512"));
  EXPECT_THAT(Refusal(R"({"hidden_act": "tanh"})"), HasSubstr("hidden_act: must be one of"));
  EXPECT_THAT(Refusal(R"({"layer_norm_eps": 0})"), HasSubstr("layer_norm_eps"));
  EXPECT_THAT(Refusal(R"({"eos_token_id": [1, 2]})"), HasSubstr("eos_token_id"));
  const auto both = ParseClipTextConfig(R"({"vocab_size": "x", "hidden_act": 3})");
  EXPECT_EQ(GetFieldViolations(both.status()).size(), 2);
}

TEST(ClipTextConfig, RefusesOtherModels) {
  EXPECT_THAT(Refusal(R"({"model_type": "clip"})"), HasSubstr("model_type: must be one of"));
  EXPECT_THAT(Refusal(R"({"architectures": ["T5EncoderModel"]})"),
              HasSubstr("architectures[0]: must be CLIPTextModel"));
  EXPECT_THAT(Refusal(R"({"architectures": []})"), HasSubstr("must be a list of one class"));
  EXPECT_THAT(Refusal(R"({"quantization_config": {"bits": 4}})"),
              HasSubstr("quantization_config: is not supported"));
  EXPECT_THAT(Refusal(R"({"pruned_heads": {"1": [0]}})"), HasSubstr("pruned_heads"));
  EXPECT_THAT(Refusal(R"({"is_decoder": true})"), HasSubstr("is_decoder: must be false"));
}

}  // namespace
}  // namespace denoise
