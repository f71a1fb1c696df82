#include "core/codec/autoencoder_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/base/field_violations.h"

namespace denoise {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string Json(const std::string& class_name, const std::string& entries) {
  return R"({"_class_name": ")" + class_name + "\"" + (entries.empty() ? "" : ", ") + entries + "}";
}
std::string KL(const std::string& entries) { return Json("AutoencoderKL", entries); }
std::string Tiny(const std::string& entries) { return Json("AutoencoderTiny", entries); }
std::string VQ(const std::string& entries) { return Json("VQModel", entries); }

template <typename Config>
Config Parsed(const std::string& json) {
  const auto config = ParseAutoencoderConfig(json);
  EXPECT_TRUE(config.ok()) << config.status();
  if (!config.ok()) return {};
  EXPECT_TRUE(std::holds_alternative<Config>(*config));
  const Config* parsed = std::get_if<Config>(&*config);
  return parsed == nullptr ? Config{} : *parsed;
}

std::vector<std::string> ViolatedFields(const std::string& json) {
  const absl::Status status = ParseAutoencoderConfig(json).status();
  EXPECT_TRUE(status.ok() || absl::IsInvalidArgument(status)) << status;
  std::vector<std::string> fields;
  for (const FieldViolation& violation : GetFieldViolations(status)) {
    fields.push_back(violation.field);
  }
  return fields;
}

TEST(AutoencoderConfig, AbsentKeysTakeTheLibrarysDefaults) {
  const auto kl = Parsed<AutoencoderKLConfig>(KL(""));
  EXPECT_THAT(kl.blocks.block_out_channels, ElementsAre(64));
  EXPECT_EQ(kl.blocks.latent_channels, 4);
  EXPECT_EQ(kl.blocks.layers_per_block, 1);
  EXPECT_EQ(kl.blocks.norm_num_groups, 32);
  EXPECT_EQ(kl.blocks.Factor(), 1);
  EXPECT_TRUE(kl.blocks.mid_attention);
  EXPECT_TRUE(kl.quant_conv);
  EXPECT_TRUE(kl.post_quant_conv);
  EXPECT_TRUE(kl.force_upcast);
  EXPECT_EQ(kl.scaling.scaling_factor, 0.18215);
  EXPECT_EQ(kl.scaling.shift_factor, std::nullopt);
  EXPECT_THAT(kl.scaling.mean, IsEmpty());

  const auto tiny = Parsed<AutoencoderTinyConfig>(Tiny(""));
  EXPECT_EQ(tiny.encoder_channels, 64);
  EXPECT_EQ(tiny.decoder_channels, 64);
  EXPECT_THAT(tiny.num_encoder_blocks, ElementsAre(1, 3, 3, 3));
  EXPECT_THAT(tiny.num_decoder_blocks, ElementsAre(3, 3, 3, 1));
  EXPECT_EQ(tiny.act_fn, Activation::kRelu);
  EXPECT_EQ(tiny.latent_magnitude, 3);
  EXPECT_EQ(tiny.latent_shift, 0.5);
  EXPECT_EQ(tiny.scaling.scaling_factor, 1);
  EXPECT_EQ(tiny.Factor(), 8);

  const auto vq = Parsed<VQModelConfig>(VQ(""));
  EXPECT_EQ(vq.blocks.latent_channels, 3);
  EXPECT_EQ(vq.num_codes, 256);
  EXPECT_EQ(vq.code_width, 3);
  EXPECT_EQ(vq.scaling.scaling_factor, 0.18215);
  EXPECT_FALSE(vq.force_upcast);
}

TEST(AutoencoderConfig, EveryKeyIsRead) {
  const auto kl = Parsed<AutoencoderKLConfig>(KL(R"("in_channels": 1, "out_channels": 1,
      "latent_channels": 2, "block_out_channels": [6, 12], "norm_num_groups": 3,
      "down_block_types": ["AttnDownEncoderBlock2D", "DownEncoderBlock2D"],
      "up_block_types": ["UpDecoderBlock2D", "AttnUpDecoderBlock2D"], "layers_per_block": 2,
      "mid_block_add_attention": false, "act_fn": "gelu", "sample_size": [32, 64],
      "use_quant_conv": false, "use_post_quant_conv": false, "force_upcast": false,
      "scaling_factor": 2, "shift_factor": -0.5, "latents_mean": [0, 1], "latents_std": [1, 2])"));
  EXPECT_EQ(kl.blocks.picture_channels, 1);
  EXPECT_EQ(kl.blocks.latent_channels, 2);
  EXPECT_THAT(kl.blocks.block_out_channels, ElementsAre(6, 12));
  EXPECT_THAT(kl.blocks.down_attention, ElementsAre(true, false));
  EXPECT_THAT(kl.blocks.up_attention, ElementsAre(false, true));
  EXPECT_EQ(kl.blocks.layers_per_block, 2);
  EXPECT_FALSE(kl.blocks.mid_attention);
  EXPECT_EQ(kl.blocks.act_fn, Activation::kGelu);
  EXPECT_EQ(kl.blocks.Factor(), 2);
  EXPECT_FALSE(kl.quant_conv);
  EXPECT_FALSE(kl.post_quant_conv);
  EXPECT_FALSE(kl.force_upcast);
  EXPECT_EQ(kl.scaling.scaling_factor, 2);
  EXPECT_EQ(kl.scaling.shift_factor, -0.5);
  EXPECT_THAT(kl.scaling.mean, ElementsAre(0, 1));
  EXPECT_THAT(kl.scaling.std, ElementsAre(1, 2));
  EXPECT_THAT(kl.ignored_keys, IsEmpty());

  const auto tiny = Parsed<AutoencoderTinyConfig>(Tiny(R"("latent_channels": 16,
      "encoder_block_out_channels": [8, 8], "decoder_block_out_channels": [4, 4],
      "num_encoder_blocks": [0, 2], "num_decoder_blocks": [1, 1], "act_fn": "silu",
      "upsample_fn": "nearest", "upsampling_scaling_factor": 2, "latent_magnitude": 2,
      "latent_shift": 0.25, "scaling_factor": 0.5, "shift_factor": 0.0, "force_upcast": true,
      "block_out_channels": [4, 4])"));
  EXPECT_EQ(tiny.encoder_channels, 8);
  EXPECT_EQ(tiny.decoder_channels, 4);
  EXPECT_THAT(tiny.num_encoder_blocks, ElementsAre(0, 2));
  EXPECT_EQ(tiny.act_fn, Activation::kSilu);
  EXPECT_EQ(tiny.latent_magnitude, 2);
  EXPECT_EQ(tiny.scaling.scaling_factor, 0.5);
  EXPECT_EQ(tiny.scaling.shift_factor, 0);
  EXPECT_THAT(tiny.ignored_keys, IsEmpty());

  const auto vq = Parsed<VQModelConfig>(VQ(R"("num_vq_embeddings": 10, "vq_embed_dim": 5,
      "norm_type": "group", "lookup_from_codebook": false, "force_upcast": true,
      "scaling_factor": 3)"));
  EXPECT_EQ(vq.num_codes, 10);
  EXPECT_EQ(vq.code_width, 5);
  EXPECT_TRUE(vq.force_upcast);
  EXPECT_EQ(vq.scaling.scaling_factor, 3);
  EXPECT_THAT(vq.ignored_keys, IsEmpty());
}

TEST(AutoencoderConfig, NullIsAValueWhereTheLibraryGivesItAMeaning) {
  const auto kl = Parsed<AutoencoderKLConfig>(
      KL(R"("shift_factor": null, "latents_mean": null, "latents_std": null, "sample_size": null,
            "force_upcast": null, "use_quant_conv": null, "use_post_quant_conv": null,
            "mid_block_add_attention": null)"));
  EXPECT_EQ(kl.scaling.shift_factor, std::nullopt);
  EXPECT_FALSE(kl.force_upcast);
  EXPECT_FALSE(kl.quant_conv);
  EXPECT_FALSE(kl.post_quant_conv);
  EXPECT_FALSE(kl.blocks.mid_attention);
  EXPECT_EQ(Parsed<VQModelConfig>(VQ(R"("vq_embed_dim": null, "latent_channels": 7)")).code_width,
            7);
  for (const std::string key : {"scaling_factor", "act_fn", "block_out_channels", "in_channels"}) {
    EXPECT_THAT(ViolatedFields(KL("\"" + key + "\": null")), Contains(key));
  }
}

TEST(AutoencoderConfig, KeysThatTheClassDoesNotHaveAreIgnoredAndNamed) {
  EXPECT_THAT(Parsed<AutoencoderKLConfig>(KL(R"("_name_or_path": 3, "banana": 1)")).ignored_keys,
              ElementsAre("banana"));
  const auto vq = ParseAutoencoderConfig(VQ(R"("use_quant_conv": false, "banana": [])"));
  ASSERT_TRUE(vq.ok());
  EXPECT_THAT(IgnoredKeys(*vq), ElementsAre("banana", "use_quant_conv"));
}

TEST(AutoencoderConfig, WhatIsWrongIsNamed) {
  struct Case {
    std::string json;
    std::vector<std::string> fields;
  };
  const std::string levels = R"(, "norm_num_groups": 4,
      "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
      "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"])";
  const std::vector<Case> cases = {
      {"{}", {"_class_name"}},
      {R"({"_class_name": null})", {"_class_name"}},
      {Json("AsymmetricAutoencoderKL", ""), {"_class_name"}},
      {KL(R"("in_channels": 1)"), {"out_channels"}},
      {KL(R"("in_channels": 0)"), {"in_channels"}},
      {KL(R"("latent_channels": 257)"), {"latent_channels"}},
      {KL(R"("block_out_channels": [])"), {"block_out_channels"}},
      {KL(R"("block_out_channels": [8, 6])" + levels), {"block_out_channels[1]"}},
      {KL(R"("block_out_channels": [16385])"), {"block_out_channels"}},
      {KL(R"("block_out_channels": [32, 32, 32, 32, 32, 32, 32, 32, 32])"), {"block_out_channels"}},
      {KL(R"("block_out_channels": [32, 32])"), {"down_block_types", "up_block_types"}},
      {KL(R"("down_block_types": ["DownBlock2D"])"), {"down_block_types[0]"}},
      {KL(R"("up_block_types": ["DownEncoderBlock2D"])"), {"up_block_types[0]"}},
      {KL(R"("up_block_types": "UpDecoderBlock2D")"), {"up_block_types"}},
      {KL(R"("layers_per_block": 0)"), {"layers_per_block"}},
      {KL(R"("layers_per_block": 65)"), {"layers_per_block"}},
      {KL(R"("norm_num_groups": 0)"), {"norm_num_groups"}},
      {KL(R"("act_fn": "tanh")"), {"act_fn"}},
      {KL(R"("sample_size": 0)"), {"sample_size"}},
      {KL(R"("sample_size": [1, 2, 3])"), {"sample_size"}},
      {KL(R"("scaling_factor": 0)"), {"scaling_factor"}},
      {KL(R"("scaling_factor": -1)"), {"scaling_factor"}},
      {KL(R"("scaling_factor": 1e7)"), {"scaling_factor"}},
      {KL(R"("scaling_factor": "1")"), {"scaling_factor"}},
      {KL(R"("shift_factor": 1e7)"), {"shift_factor"}},
      {KL(R"("shift_factor": [])"), {"shift_factor"}},
      {KL(R"("latents_mean": [0, 0, 0, 0])"), {"latents_std"}},
      {KL(R"("latents_std": [1, 1, 1, 1])"), {"latents_mean"}},
      {KL(R"("latents_mean": [0, 0, 0], "latents_std": [1, 1, 1, 1])"), {"latents_mean"}},
      {KL(R"("latents_mean": [0, 0, 0, 1e7], "latents_std": [1, 1, 1, 1])"), {"latents_mean"}},
      {KL(R"("latents_mean": [0, 0, 0, 0], "latents_std": [1, 1, 0, 1])"), {"latents_std"}},
      {KL(R"("latents_mean": 0, "latents_std": 1)"), {"latents_mean", "latents_std"}},
      {KL(R"("force_upcast": 1, "use_quant_conv": "no")"), {"use_quant_conv", "force_upcast"}},
      {Tiny(R"("encoder_block_out_channels": [64, 64, 64, 32])"), {"encoder_block_out_channels"}},
      {Tiny(R"("decoder_block_out_channels": [64, 64])"), {"num_decoder_blocks"}},
      {Tiny(R"("decoder_block_out_channels": [64], "num_decoder_blocks": [1])"),
       {"num_decoder_blocks"}},
      {Tiny(R"("num_encoder_blocks": [1, 3, 3, 65])"), {"num_encoder_blocks"}},
      {Tiny(R"("num_encoder_blocks": [1, 3, 3, -1])"), {"num_encoder_blocks"}},
      {Tiny(R"("upsample_fn": "bilinear")"), {"upsample_fn"}},
      {Tiny(R"("upsampling_scaling_factor": 4)"), {"upsampling_scaling_factor"}},
      {Tiny(R"("latent_magnitude": 0)"), {"latent_magnitude"}},
      {Tiny(R"("latent_shift": 1e9)"), {"latent_shift"}},
      {VQ(R"("num_vq_embeddings": 1048577)"), {"num_vq_embeddings"}},
      {VQ(R"("vq_embed_dim": 0)"), {"vq_embed_dim"}},
      {VQ(R"("norm_type": "spatial")"), {"norm_type"}},
      {VQ(R"("lookup_from_codebook": true)"), {"lookup_from_codebook"}},
  };
  for (const Case& wrong : cases) {
    EXPECT_EQ(ViolatedFields(wrong.json), wrong.fields) << wrong.json;
  }
}

TEST(AutoencoderConfig, WhatIsNoObjectIsRefused) {
  for (const std::string json : {"", "null", "[]", "{", "{\"a\": 1, \"a\": 2}"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseAutoencoderConfig(json).status())) << json;
  }
}

}  // namespace
}  // namespace denoise
