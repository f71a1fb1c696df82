#include "core/nn/unet2d_condition_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/base/field_violations.h"

namespace denoise {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;

// A file with `entries`, each ending in a comma.
std::string Json(const std::string& entries) { return "{" + entries + R"("sample_size": 16})"; }

// The same, of a network of two levels.
std::string SmallJson(const std::string& entries) {
  return Json(entries + R"("block_out_channels": [16, 32], "norm_num_groups": 8,
      "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
      "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],)");
}

std::vector<std::string> ViolatedFields(const std::string& json) {
  std::vector<std::string> fields;
  const absl::Status status = ParseUNet2DConditionConfig(json).status();
  for (const FieldViolation& violation : GetFieldViolations(status)) {
    fields.push_back(violation.field);
  }
  return fields;
}

UNet2DConditionConfig Parse(const std::string& json) {
  const auto config = ParseUNet2DConditionConfig(json);
  EXPECT_TRUE(config.ok()) << config.status();
  return config.value_or(UNet2DConditionConfig{});
}

TEST(UNet2DConditionConfig, AbsentKeysTakeTheLibrarysDefaults) {
  const UNet2DConditionConfig config = Parse(Json(""));
  EXPECT_EQ(config.height, 16);
  EXPECT_EQ(config.in_channels, 4);
  EXPECT_EQ(config.cross_attention_dim, 1280);
  EXPECT_EQ(config.time_embedding_dim, 4 * 320);
  EXPECT_EQ(config.norm_num_groups, 32);
  EXPECT_EQ(config.mid_block, ConditionMidBlock::kCrossAttention);
  EXPECT_EQ(config.mid_transformers, 1);
  EXPECT_FALSE(config.use_linear_projection);
  EXPECT_FALSE(config.time_cond_proj_dim);
  EXPECT_FALSE(config.text_time);
  EXPECT_EQ(config.class_embedding, ClassEmbedding::kNone);
  ASSERT_EQ(config.levels.size(), 4);
  EXPECT_EQ(config.levels[3].channels, 1280);
  EXPECT_EQ(config.levels[0].heads, 8);
  EXPECT_THAT(config.levels[0].down_transformers, ElementsAre(1, 1));
  EXPECT_THAT(config.levels[0].up_transformers, ElementsAre(1, 1, 1));
  EXPECT_THAT(config.levels[3].down_transformers, IsEmpty());
  EXPECT_THAT(config.levels[3].up_transformers, IsEmpty());
}

TEST(UNet2DConditionConfig, NullIsAValueWhereTheLibraryGivesItAMeaning) {
  const UNet2DConditionConfig config = Parse(SmallJson(R"("mid_block_type": null,
      "class_embed_type": null, "num_class_embeds": null, "addition_embed_type": null,
      "addition_time_embed_dim": null, "projection_class_embeddings_input_dim": null,
      "time_cond_proj_dim": null, "time_embedding_dim": null, "num_attention_heads": null,
      "encoder_hid_dim": null, "encoder_hid_dim_type": null, "time_embedding_act_fn": null,
      "timestep_post_act": null, "cross_attention_norm": null,
      "mid_block_only_cross_attention": null, "reverse_transformer_layers_per_block": null,
      "upcast_attention": null, "center_input_sample": null, "only_cross_attention": null,
      "use_linear_projection": null, "flip_sin_to_cos": null, "freq_shift": null,
      "resnet_skip_time_act": null, "resnet_out_scale_factor": null, "dropout": null,
      "addition_embed_type_num_heads": null,)"));
  EXPECT_EQ(config.mid_block, ConditionMidBlock::kNone);
  EXPECT_FALSE(config.center_input_sample);
  EXPECT_FALSE(config.use_linear_projection);
  EXPECT_FALSE(config.flip_sin_to_cos);
  EXPECT_EQ(config.freq_shift, 0);
  EXPECT_FALSE(config.levels[0].only_text);
  EXPECT_EQ(config.time_embedding_dim, 64);
}

// The values that Stable Diffusion XL is published with, and its inpainting variant adds.
std::string PublishedXL(const std::string& in_channels, const std::string& more) {
  return R"({
      "_class_name": "UNet2DConditionModel", "act_fn": "silu", "addition_embed_type": "text_time",
      "addition_embed_type_num_heads": 64, "addition_time_embed_dim": 256,
      "attention_head_dim": [5, 10, 20], "block_out_channels": [320, 640, 1280],
      "center_input_sample": false, "class_embed_type": null, "class_embeddings_concat": false,
      "conv_in_kernel": 3, "conv_out_kernel": 3, "cross_attention_dim": 2048,
      "cross_attention_norm": null,
      "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
      "downsample_padding": 1, "dual_cross_attention": false, "encoder_hid_dim": null,
      "encoder_hid_dim_type": null, "flip_sin_to_cos": true, "freq_shift": 0,
      "layers_per_block": 2, "mid_block_only_cross_attention": null, "mid_block_scale_factor": 1,
      "mid_block_type": "UNetMidBlock2DCrossAttn", "norm_eps": 1e-05, "norm_num_groups": 32,
      "num_attention_heads": null, "num_class_embeds": null, "only_cross_attention": false,
      "out_channels": 4, "projection_class_embeddings_input_dim": 2816,
      "resnet_out_scale_factor": 1.0, "resnet_skip_time_act": false,
      "resnet_time_scale_shift": "default", "sample_size": 128, "time_cond_proj_dim": null,
      "time_embedding_act_fn": null, "time_embedding_dim": null,
      "time_embedding_type": "positional", "timestep_post_act": null,
      "transformer_layers_per_block": [1, 2, 10],
      "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
      "upcast_attention": null, "use_linear_projection": true, "in_channels": )" +
         in_channels + more + "}";
}

TEST(UNet2DConditionConfig, PublishedStableDiffusionXLIsRead) {
  const UNet2DConditionConfig config = Parse(PublishedXL("4", ""));
  EXPECT_THAT(config.ignored_keys, IsEmpty());
  EXPECT_EQ(config.in_channels, 4);
  EXPECT_EQ(config.height, 128);
  ASSERT_EQ(config.levels.size(), 3);
  EXPECT_EQ(config.levels[2].heads, 20);
  EXPECT_THAT(config.levels[0].down_transformers, IsEmpty());
  EXPECT_THAT(config.levels[2].up_transformers, ElementsAre(10, 10, 10));
  EXPECT_EQ(config.cross_attention_dim, 2048);
  ASSERT_TRUE(config.text_time);
  EXPECT_EQ(config.text_time->input_dim, 2816);
  EXPECT_TRUE(config.use_linear_projection);
}

TEST(UNet2DConditionConfig, PublishedStableDiffusionXLForInpaintingIsRead) {
  const UNet2DConditionConfig config = Parse(PublishedXL("9", R"(,
      "attention_type": "default", "decay": 0.9999, "inv_gamma": 1.0, "min_decay": 0.0,
      "optimization_step": 37000, "power": 0.6666666666666666, "update_after_step": 0,
      "use_ema_warmup": false)"));
  EXPECT_EQ(config.in_channels, 9);
  EXPECT_THAT(config.ignored_keys,
              ElementsAre("decay", "inv_gamma", "min_decay", "optimization_step", "power",
                          "update_after_step", "use_ema_warmup"));
}

TEST(UNet2DConditionConfig, NumbersMayDifferByLevel) {
  const UNet2DConditionConfig config = Parse(SmallJson(R"("layers_per_block": [1, 3],
      "attention_head_dim": [2, 4], "only_cross_attention": [false, true],
      "cross_attention_dim": [24, 24], "transformer_layers_per_block": [2, 5],)"));
  EXPECT_THAT(config.levels[0].down_transformers, ElementsAre(2));
  EXPECT_THAT(config.levels[0].up_transformers, ElementsAre(2, 2));
  EXPECT_EQ(config.levels[1].layers, 3);
  EXPECT_EQ(config.levels[1].heads, 4);
  EXPECT_TRUE(config.levels[1].only_text);
  EXPECT_EQ(config.mid_transformers, 5);
  EXPECT_EQ(config.cross_attention_dim, 24);
  EXPECT_EQ(
      Parse(SmallJson(R"("attention_head_dim": 2, "num_attention_heads": 4,)")).levels[0].heads, 4);
}

TEST(UNet2DConditionConfig, TransformersMayDifferByLayer) {
  const UNet2DConditionConfig config = Parse(SmallJson(R"("layers_per_block": 2,
      "transformer_layers_per_block": [[1, 2], 3],
      "reverse_transformer_layers_per_block": [4, [5, 6, 7]],)"));
  EXPECT_THAT(config.levels[0].down_transformers, ElementsAre(1, 2));
  EXPECT_THAT(config.levels[0].up_transformers, ElementsAre(5, 6, 7));
  EXPECT_EQ(config.mid_transformers, 3);
  EXPECT_THAT(ViolatedFields(SmallJson(R"("transformer_layers_per_block": [[1, 2], 3],)")),
              ElementsAre("reverse_transformer_layers_per_block"));
}

TEST(UNet2DConditionConfig, ClassEmbeddingsComeInTwoKinds) {
  const UNet2DConditionConfig table = Parse(SmallJson(R"("num_class_embeds": 9,)"));
  EXPECT_EQ(table.class_embedding, ClassEmbedding::kTable);
  EXPECT_EQ(table.num_class_embeds, 9);
  const UNet2DConditionConfig timestep = Parse(SmallJson(R"("class_embed_type": "timestep",)"));
  EXPECT_EQ(timestep.class_embedding, ClassEmbedding::kTimestep);
  EXPECT_GT(timestep.num_class_embeds, 0);
}

TEST(UNet2DConditionConfig, KeysOfBlocksThatAreNotSupportedHaveNoEffect) {
  EXPECT_THAT(Parse(SmallJson(R"("resnet_skip_time_act": true, "resnet_out_scale_factor": 2.0,
      "addition_embed_type_num_heads": 64, "upcast_attention": true, "dropout": 0.1,)"))
                  .ignored_keys,
              IsEmpty());
}

TEST(UNet2DConditionConfig, KeysThatTheClassDoesNotHaveAreIgnoredAndNamed) {
  EXPECT_THAT(Parse(SmallJson(R"("_note": 1, "decay": 0.9, "new": {"a": [1]},)")).ignored_keys,
              ElementsAre("decay", "new"));
}

struct WrongCase {
  std::string name;
  std::string entries;
  std::string field;
};

class UNet2DConditionConfigWrong : public testing::TestWithParam<WrongCase> {};

TEST_P(UNet2DConditionConfigWrong, IsRefusedByName) {
  EXPECT_THAT(ViolatedFields(SmallJson(GetParam().entries)), Contains(GetParam().field));
}

INSTANTIATE_TEST_SUITE_P(
    Values, UNet2DConditionConfigWrong,
    testing::ValuesIn(std::vector<WrongCase>{
        {"OtherClass", R"("_class_name": "UNet2DModel",)", "_class_name"},
        {"ChannelsHuge", R"("in_channels": 16385,)", "in_channels"},
        {"ChannelsBeyond63Bits", R"("out_channels": 18446744073709551615,)", "out_channels"},
        {"LayersZero", R"("layers_per_block": 0,)", "layers_per_block"},
        {"LayersOfOtherLevels", R"("layers_per_block": [1, 2, 3],)", "layers_per_block"},
        {"LayersNested", R"("layers_per_block": [[1], 2],)", "layers_per_block"},
        {"HeadsZero", R"("attention_head_dim": 0,)", "attention_head_dim"},
        {"HeadsNull", R"("attention_head_dim": null,)", "attention_head_dim"},
        {"HeadsNotDividing", R"("attention_head_dim": 5,)", "block_out_channels[0]"},
        {"NumHeads", R"("num_attention_heads": [1, 2, 3],)", "num_attention_heads"},
        {"OnlyCrossText", R"("only_cross_attention": "yes",)", "only_cross_attention"},
        {"OnlyCrossList", R"("only_cross_attention": [true],)", "only_cross_attention"},
        {"TextWidthNull", R"("cross_attention_dim": null,)", "cross_attention_dim"},
        {"TextWidthsDiffer", R"("cross_attention_dim": [8, 16],)", "cross_attention_dim"},
        {"TransformersZero", R"("transformer_layers_per_block": 0,)",
         "transformer_layers_per_block"},
        {"TransformersText", R"("transformer_layers_per_block": "2",)",
         "transformer_layers_per_block"},
        {"TransformersList", R"("transformer_layers_per_block": [1, 2, 3],)",
         "transformer_layers_per_block"},
        {"TransformersDeep", R"("transformer_layers_per_block": [[[1]], 2],)",
         "transformer_layers_per_block"},
        {"TransformersMany", R"("transformer_layers_per_block": 64, "layers_per_block": 64,)",
         "transformer_layers_per_block"},
        {"Reverse", R"("reverse_transformer_layers_per_block": [1],)",
         "reverse_transformer_layers_per_block"},
        {"DualCrossAttention", R"("dual_cross_attention": true,)", "dual_cross_attention"},
        {"EncoderHidDim", R"("encoder_hid_dim": 64,)", "encoder_hid_dim"},
        {"EncoderHidDimType", R"("encoder_hid_dim_type": "text_proj",)", "encoder_hid_dim_type"},
        {"TimeEmbeddingType", R"("time_embedding_type": "fourier",)", "time_embedding_type"},
        {"TimeEmbeddingAct", R"("time_embedding_act_fn": "silu",)", "time_embedding_act_fn"},
        {"TimestepPostAct", R"("timestep_post_act": "silu",)", "timestep_post_act"},
        {"AttentionType", R"("attention_type": "gated",)", "attention_type"},
        {"ClassConcat", R"("class_embeddings_concat": true,)", "class_embeddings_concat"},
        {"CrossNorm", R"("cross_attention_norm": "layer_norm",)", "cross_attention_norm"},
        {"ClassIdentity", R"("class_embed_type": "identity",)", "class_embed_type"},
        {"ClassProjection", R"("class_embed_type": "projection",)", "class_embed_type"},
        {"ClassSimple", R"("class_embed_type": "simple_projection",)", "class_embed_type"},
        {"ClassesMany", R"("num_class_embeds": 10000001,)", "num_class_embeds"},
        {"Addition", R"("addition_embed_type": "text",)", "addition_embed_type"},
        {"AdditionNumber", R"("addition_embed_type": 3,)", "addition_embed_type"},
        {"TextTimeWithoutDim",
         R"("addition_embed_type": "text_time", "projection_class_embeddings_input_dim": 9,)",
         "addition_time_embed_dim"},
        {"TextTimeWithoutInput",
         R"("addition_embed_type": "text_time", "addition_time_embed_dim": 4,)",
         "projection_class_embeddings_input_dim"},
        {"GuidanceDim", R"("time_cond_proj_dim": 2,)", "time_cond_proj_dim"},
        {"EvenKernel", R"("conv_in_kernel": 2,)", "conv_in_kernel"},
        {"KernelHuge", R"("conv_out_kernel": 33,)", "conv_out_kernel"},
        {"MidBlock", R"("mid_block_type": "UNetMidBlock2DSimpleCrossAttn",)", "mid_block_type"},
        {"MidScale", R"("mid_block_scale_factor": 0,)", "mid_block_scale_factor"},
        {"Padding", R"("downsample_padding": 2,)", "downsample_padding"},
        {"Activation", R"("act_fn": "tanh",)", "act_fn"},
        {"TimeShift", R"("resnet_time_scale_shift": "ada_group",)", "resnet_time_scale_shift"},
        {"NormEps", R"("norm_eps": 0,)", "norm_eps"},
        {"Dropout", R"("dropout": 2,)", "dropout"},
        {"FreqShift", R"("freq_shift": 8,)", "freq_shift"},
        {"LinearProjection", R"("use_linear_projection": 1,)", "use_linear_projection"},
        {"UpcastText", R"("upcast_attention": "yes",)", "upcast_attention"},
    }),
    [](const auto& wrong) { return wrong.param.name; });

TEST(UNet2DConditionConfig, BlocksAreAsManyAsLevels) {
  EXPECT_THAT(ViolatedFields(Json(R"("block_out_channels": [16, 32], "norm_num_groups": 8,)")),
              ElementsAre("down_block_types", "up_block_types"));
}

TEST(UNet2DConditionConfig, OtherBlocksAreRefusedByName) {
  EXPECT_THAT(
      ViolatedFields(Json(R"("block_out_channels": [16], "norm_num_groups": null,
      "down_block_types": ["AttnDownBlock2D"], "up_block_types": ["SimpleCrossAttnUpBlock2D"],)")),
      testing::IsSupersetOf({"down_block_types[0]", "up_block_types[0]", "norm_num_groups"}));
}

TEST(UNet2DConditionConfig, ANetworkThatReadsNoTextIsRefused) {
  EXPECT_THAT(ViolatedFields(Json(R"("block_out_channels": [16], "norm_num_groups": 8,
      "down_block_types": ["DownBlock2D"], "up_block_types": ["UpBlock2D"],
      "mid_block_type": null,)")),
              ElementsAre("down_block_types"));
}

TEST(UNet2DConditionConfig, SampleSizeIsNeededAndMayBeAnything) {
  EXPECT_THAT(ViolatedFields("{}"), ElementsAre("sample_size"));
  EXPECT_EQ(Parse(R"({"sample_size": [13, 7]})").width, 7);
  for (const char* bad : {"null", "0", "4097", "[1]", "[1, 2, 3]", "\"8\"", "{}"}) {
    EXPECT_THAT(ViolatedFields(std::string(R"({"sample_size": )") + bad + "}"),
                Contains("sample_size"))
        << bad;
  }
}

TEST(UNet2DConditionConfig, AnyBytesAreAnswered) {
  const std::string good = SmallJson("");
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_EQ(ParseUNet2DConditionConfig(good.substr(0, size)).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  for (const std::string& bytes : {std::string("null"), std::string("[]"), std::string("\xff\xfe"),
                                   std::string(500'000, '['), std::string(5 << 20, ' ')}) {
    EXPECT_EQ(ParseUNet2DConditionConfig(bytes).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace denoise
