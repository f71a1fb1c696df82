#include "core/nn/unet2d_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"

namespace denoise {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

// A file with `entries`, each ending in a comma.
std::string Json(const std::string& entries) { return "{" + entries + R"("sample_size": 16})"; }

// The same, of a small network.
std::string SmallJson(const std::string& entries) {
  return Json(entries + R"("block_out_channels": [16, 32], "norm_num_groups": 8,
      "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
      "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],)");
}

std::vector<std::string> ViolatedFields(const std::string& json) {
  std::vector<std::string> fields;
  for (const FieldViolation& violation : GetFieldViolations(ParseUNet2DConfig(json).status())) {
    fields.push_back(violation.field);
  }
  return fields;
}

TEST(UNet2DConfig, AbsentKeysTakeTheLibrarysDefaults) {
  const auto config = ParseUNet2DConfig(Json(""));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->height, 16);
  EXPECT_EQ(config->width, 16);
  EXPECT_EQ(config->in_channels, 3);
  EXPECT_THAT(config->block_out_channels, ElementsAre(224, 448, 672, 896));
  EXPECT_EQ(config->time_embedding_dim, 4 * 224);
  EXPECT_THAT(config->down_blocks, SizeIs(4));
  EXPECT_FALSE(config->down_blocks[0].attention);
  EXPECT_TRUE(config->down_blocks[3].attention);
  EXPECT_FALSE(config->up_blocks[3].attention);
  EXPECT_EQ(config->attention_head_dim, 8);
  EXPECT_EQ(config->norm_num_groups, 32);
  EXPECT_EQ(config->downsample_padding, 1);
  EXPECT_TRUE(config->mid_block);
  EXPECT_TRUE(config->mid_attention);
  EXPECT_EQ(config->class_embedding, ClassEmbedding::kNone);
  EXPECT_EQ(config->num_class_embeds, 0);
}

TEST(UNet2DConfig, NullHeadDimMeansOneHead) {
  const auto config = ParseUNet2DConfig(SmallJson(R"("attention_head_dim": null,)"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->AttentionHeads(32), 1);
  EXPECT_EQ(ParseUNet2DConfig(SmallJson(""))->AttentionHeads(32), 4);
}

TEST(UNet2DConfig, BlockTypesAndResampleTypesCombine) {
  const auto config = ParseUNet2DConfig(Json(R"(
      "block_out_channels": [16, 16, 16], "norm_num_groups": 8,
      "downsample_type": "resnet", "upsample_type": "resnet",
      "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "ResnetDownsampleBlock2D"],
      "up_block_types": ["ResnetUpsampleBlock2D", "AttnUpBlock2D", "UpBlock2D"],)"));
  ASSERT_TRUE(config.ok()) << config.status();
  const UNet2DLevel plain{false, Resampling::kConv}, attention{true, Resampling::kResnet},
      resnet{false, Resampling::kResnet};
  EXPECT_THAT(config->down_blocks, ElementsAre(plain, attention, resnet));
  EXPECT_THAT(config->up_blocks, ElementsAre(resnet, attention, plain));
}

TEST(UNet2DConfig, ClassEmbeddingsComeInThreeKinds) {
  const auto table = ParseUNet2DConfig(SmallJson(R"("num_class_embeds": 9,)"));
  EXPECT_EQ(table->class_embedding, ClassEmbedding::kTable);
  EXPECT_EQ(table->num_class_embeds, 9);
  const auto timestep = ParseUNet2DConfig(SmallJson(R"("class_embed_type": "timestep",)"));
  EXPECT_EQ(timestep->class_embedding, ClassEmbedding::kTimestep);
  EXPECT_GT(timestep->num_class_embeds, 0);
  const auto identity =
      ParseUNet2DConfig(SmallJson(R"("class_embed_type": "identity", "num_class_embeds": 5,)"));
  EXPECT_EQ(identity->class_embedding, ClassEmbedding::kIdentity);
  EXPECT_EQ(identity->num_class_embeds, 5);
}

TEST(UNet2DConfig, NullIsAValueWhereTheLibraryGivesItAMeaning) {
  const auto config = ParseUNet2DConfig(SmallJson(R"("mid_block_type": null,
      "downsample_type": null, "upsample_type": null, "class_embed_type": null,
      "num_class_embeds": null, "time_embedding_dim": null, "attn_norm_num_groups": null,
      "center_input_sample": null, "flip_sin_to_cos": null, "freq_shift": null,
      "add_attention": null, "dropout": null,)"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_FALSE(config->mid_block);
  EXPECT_TRUE(ParseUNet2DConfig(SmallJson(""))->mid_block);
  EXPECT_EQ(config->down_blocks[1].resampling, Resampling::kConv);
  EXPECT_EQ(config->up_blocks[0].resampling, Resampling::kConv);
  EXPECT_EQ(config->class_embedding, ClassEmbedding::kNone);
  EXPECT_EQ(config->time_embedding_dim, 4 * 16);
  EXPECT_FALSE(config->center_input_sample);
  EXPECT_FALSE(config->flip_sin_to_cos);
  EXPECT_FALSE(config->mid_attention);
  EXPECT_EQ(config->freq_shift, 0);
  EXPECT_EQ(config->dropout, 0);
  for (const char* key : {"_class_name", "in_channels", "act_fn", "norm_eps"}) {
    EXPECT_THAT(ViolatedFields(SmallJson(absl::StrCat("\"", key, "\": null,"))), Contains(key));
  }
}

TEST(UNet2DConfig, NotesOfTheLibraryAreLeftAlone) {
  EXPECT_TRUE(ParseUNet2DConfig(SmallJson(R"("_class_name": "UNet2DModel",
      "_diffusers_version": "0.40.0", "_name_or_path": 3, "dropout": 0.1,
      "num_train_timesteps": 1000,)"))
                  .ok());
}

TEST(UNet2DConfig, KeysThatTheClassDoesNotHaveAreIgnoredAndNamed) {
  struct Case {
    const char* code;
    const char* written_by;
    std::string entries;
    std::vector<std::string> ignored;
  };
  const Case cases[] = {
      {"M2",
       "EMAModel",
       R"("decay": 0.9999, "inv_gamma": 1.0, "min_decay": 0.0, "power": 0.75,
       "optimization_step": 50000, "update_after_step": 0, "use_ema_warmup": true,)",
       {"decay", "inv_gamma", "min_decay", "optimization_step", "power", "update_after_step",
        "use_ema_warmup"}},
      {"M2",
       "a later release",
       R"("encoder_hid_dim": 3, "new": {"a": [1, {"b": 2}]},)",
       {"encoder_hid_dim", "new"}},
      {"M2",
       "a release that had the key as null",
       R"("attention_type": null,)",
       {"attention_type"}},
      {"M2", "a training script", R"("_note": 1, "ema_\u001b": true,)", {"ema_\\x1b"}},
  };
  for (const Case& c : cases) {
    const auto config = ParseUNet2DConfig(SmallJson(c.entries));
    ASSERT_TRUE(config.ok()) << c.code << ", " << c.written_by << ": " << config.status();
    EXPECT_EQ(config->ignored_keys, c.ignored) << c.code << ", " << c.written_by;
  }
}

struct WrongCase {
  std::string name;
  std::string entries;
  std::string field;
};

class UNet2DConfigWrong : public testing::TestWithParam<WrongCase> {};

TEST_P(UNet2DConfigWrong, IsRefusedByName) {
  EXPECT_THAT(ViolatedFields(SmallJson(GetParam().entries)), Contains(GetParam().field));
}

INSTANTIATE_TEST_SUITE_P(
    Values, UNet2DConfigWrong,
    testing::ValuesIn(std::vector<WrongCase>{
        {"OtherClass", R"("_class_name": "UNet2DConditionModel",)", "_class_name"},
        {"ChannelsZero", R"("in_channels": 0,)", "in_channels"},
        {"ChannelsHuge", R"("out_channels": 16385,)", "out_channels"},
        {"ChannelsBeyond63Bits", R"("in_channels": 18446744073709551615,)", "in_channels"},
        {"ChannelsFraction", R"("in_channels": 3.5,)", "in_channels"},
        {"ChannelsText", R"("in_channels": "3",)", "in_channels"},
        {"LayersZero", R"("layers_per_block": 0,)", "layers_per_block"},
        {"LayersMany", R"("layers_per_block": 65,)", "layers_per_block"},
        {"LayersPerLevel", R"("layers_per_block": [1, 2],)", "layers_per_block"},
        {"CenterNumber", R"("center_input_sample": 1,)", "center_input_sample"},
        {"TimeEmbedding", R"("time_embedding_type": "sinus",)", "time_embedding_type"},
        {"TimeEmbeddingNull", R"("time_embedding_type": null,)", "time_embedding_type"},
        {"LearnedWithoutRows", R"("time_embedding_type": "learned",)", "num_train_timesteps"},
        {"TimeEmbeddingDim", R"("time_embedding_dim": -4,)", "time_embedding_dim"},
        {"FreqShiftDividesByZero", R"("freq_shift": 8,)", "freq_shift"},
        {"FreqShiftText", R"("freq_shift": "x",)", "freq_shift"},
        {"ClassEmbedding", R"("class_embed_type": "projection",)", "class_embed_type"},
        {"ClassesZero", R"("num_class_embeds": 0,)", "num_class_embeds"},
        {"ClassesMany", R"("num_class_embeds": 10000001,)", "num_class_embeds"},
        {"MidBlock", R"("mid_block_type": "UNetMidBlock2DCrossAttn",)", "mid_block_type"},
        {"MidScaleZero", R"("mid_block_scale_factor": 0,)", "mid_block_scale_factor"},
        {"Padding", R"("downsample_padding": 2,)", "downsample_padding"},
        {"Downsample", R"("downsample_type": "fir",)", "downsample_type"},
        {"Upsample", R"("upsample_type": "fir",)", "upsample_type"},
        {"Activation", R"("act_fn": "tanh",)", "act_fn"},
        {"TimeShift", R"("resnet_time_scale_shift": "ada_group",)", "resnet_time_scale_shift"},
        {"NormEpsZero", R"("norm_eps": 0,)", "norm_eps"},
        {"NormEpsNegative", R"("norm_eps": -1e-5,)", "norm_eps"},
        {"AttnNormGroups", R"("attn_norm_num_groups": 5,)", "attn_norm_num_groups"},
        {"NegativeDropout", R"("dropout": -0.1,)", "dropout"},
        {"HeadDim", R"("attention_head_dim": 5,)", "block_out_channels[1]"},
        {"HeadDimZero", R"("attention_head_dim": 0,)", "attention_head_dim"},
        {"Dropout", R"("dropout": "much",)", "dropout"},
    }),
    [](const auto& wrong) { return wrong.param.name; });

TEST(UNet2DConfig, BlocksMustBeKnownAndAsManyAsChannels) {
  const auto fields = [](const std::string& down, const std::string& up) {
    return ViolatedFields(Json(R"("block_out_channels": [16, 32], "norm_num_groups": 8,
        "down_block_types": )" +
                               down + R"(, "up_block_types": )" + up + ","));
  };
  EXPECT_THAT(fields(R"(["SkipDownBlock2D", "DownBlock2D"])", R"(["UpBlock2D", "UpBlock2D"])"),
              ElementsAre("down_block_types[0]"));
  EXPECT_THAT(fields(R"(["DownBlock2D", "DownBlock2D"])", R"(["UpBlock2D", "AttnSkipUpBlock2D"])"),
              ElementsAre("up_block_types[1]"));
  EXPECT_THAT(fields(R"(["DownBlock2D"])", R"(["UpBlock2D", "UpBlock2D"])"),
              ElementsAre("down_block_types"));
  EXPECT_THAT(
      fields(R"("DownBlock2D")", R"([])"),
      ElementsAre("down_block_types", "up_block_types", "down_block_types", "up_block_types"));
  EXPECT_THAT(fields(R"([1, 2])", R"(["UpBlock2D", "UpBlock2D"])"),
              Contains("down_block_types[0]"));
}

TEST(UNet2DConfig, GroupsMustDivideEveryLevel) {
  EXPECT_THAT(ViolatedFields(Json(R"("block_out_channels": [16, 20], "norm_num_groups": 8,
      "down_block_types": ["DownBlock2D", "DownBlock2D"], "add_attention": false,
      "up_block_types": ["UpBlock2D", "UpBlock2D"],)")),
              ElementsAre("block_out_channels[1]"));
}

TEST(UNet2DConfig, SampleSizeIsNeededAndHalvesAtEveryLevel) {
  const auto fields = [](const std::string& size) {
    return ViolatedFields(R"({"block_out_channels": [16, 16, 16], "norm_num_groups": 8,
        "down_block_types": ["DownBlock2D", "DownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "UpBlock2D", "UpBlock2D"])" +
                          size + "}");
  };
  for (const char* good : {"12", "[12, 20]", "4096"}) {
    EXPECT_THAT(fields(std::string(R"(, "sample_size": )") + good), IsEmpty()) << good;
  }
  for (const char* bad : {"null", "14", "[12, 14]", "0", "4100", "[12]", "[4, 4, 4]", "[]", "-4",
                          "\"12\"", "[12, \"a\"]", "{}"}) {
    EXPECT_THAT(fields(std::string(R"(, "sample_size": )") + bad), Not(IsEmpty())) << bad;
  }
  EXPECT_THAT(fields(""), ElementsAre("sample_size"));
}

TEST(UNet2DConfig, EveryViolationIsReportedAtOnce) {
  EXPECT_THAT(ViolatedFields(SmallJson(R"("in_channels": 0, "act_fn": 3, "norm_eps": null,)")),
              testing::UnorderedElementsAre("in_channels", "act_fn", "norm_eps"));
}

TEST(UNet2DConfig, IgnoredKeysAreNotNamedWithoutEnd) {
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "\"key" + std::to_string(i) + "\": 1,";
  const auto config = ParseUNet2DConfig(SmallJson(many));
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_THAT(config->ignored_keys, SizeIs(21));
  EXPECT_EQ(config->ignored_keys.back(), "and 980 more");
}

TEST(UNet2DConfig, AnyBytesAreAnswered) {
  const std::string good = SmallJson("");
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_EQ(ParseUNet2DConfig(good.substr(0, size)).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  const std::string nested(500'000, '[');
  for (const std::string& bytes :
       {std::string("null"), std::string("[]"), std::string("\xff\xfe"),
        std::string("{\"a\": \"\xc3\x28\"}"), nested, nested + std::string(500'000, ']'),
        std::string(5 << 20, ' '), SmallJson(R"("in_channels": 3, "in_channels": 3,)"),
        std::string("{\"norm_eps\": 1e999}")}) {
    EXPECT_EQ(ParseUNet2DConfig(bytes).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace denoise
