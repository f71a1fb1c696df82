// Folders of latent models: what is refused, and how it is said.
#include "core/pipeline/parsed_pipeline.h"

#include <ATen/ops/full_like.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "core/base/error_details.h"
#include "core/io/safetensors.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

using Json = nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class ParsedPipelineTest : public testing::Test {
 protected:
  // A copy of a folder of tests/data/pipelines that may be edited.
  std::filesystem::path Copy(const std::string& name) {
    const std::filesystem::path to = folder_.path() / name;
    std::filesystem::remove_all(to);
    std::filesystem::copy("tests/data/pipelines/" + name, to,
                          std::filesystem::copy_options::recursive);
    for (const auto& entry : std::filesystem::recursive_directory_iterator(to)) {
      std::filesystem::permissions(entry.path(), std::filesystem::perms::owner_write,
                                   std::filesystem::perm_options::add);
    }
    return to;
  }

  static void Edit(const std::filesystem::path& file, const std::function<void(Json&)>& edit) {
    Json json = Json::parse(ReadFile(file));
    edit(json);
    WriteFile(file, json.dump());
  }

  // Rewrites the weights of `file` with `tensor` in the place of `name`.
  static void Replace(const std::filesystem::path& file, const std::string& name,
                      const at::Tensor& tensor) {
    const auto old = SafetensorsFile::Open(file);
    ASSERT_TRUE(old.ok()) << old.status();
    std::map<std::string, at::Tensor> tensors;
    for (const auto& [key, unused] : old->header().tensors) {
      if (key.ends_with("position_ids")) continue;
      tensors[key] = old->Get(key)->clone();
    }
    ASSERT_TRUE(tensors.contains(name)) << name;
    tensors[name] = tensor;
    ASSERT_TRUE(WriteSafetensors(file, tensors).ok());
  }

  static absl::Status LoadStatus(const std::filesystem::path& folder) {
    const auto parsed = ParsedPipeline::Open(folder);
    return parsed.ok() ? parsed->Load({}).status() : parsed.status();
  }

  void ExpectRefused(const std::filesystem::path& folder, const std::string& why) {
    const absl::Status status = LoadStatus(folder);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(why));
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr(folder_.path().string())));
  }

  TempDir folder_;
};

TEST_F(ParsedPipelineTest, SaysWhatAModelIs) {
  const auto parsed = ParsedPipeline::OpenConfigs("tests/data/pipelines/sdxl-like");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const PipelineDescription& description = parsed->description();
  EXPECT_EQ(description.source,
            "StableDiffusionXLPipeline / UNet2DConditionModel, diffusers 0.42.1");
  EXPECT_EQ(description.network.sample.channels, 4);
  EXPECT_EQ(description.network.num_time_ids, 6);
  EXPECT_EQ(description.codec.latent_channels, 4);
  EXPECT_EQ(description.guidance_scale, 5);
  ASSERT_NE(description.prompts, nullptr);
  EXPECT_TRUE(description.prompts->Absent()->zeros);
}

TEST_F(ParsedPipelineTest, ConfigurationsAndWeightsMakeTheVersion) {
  const auto folder = Copy("sd15-like");
  const std::string version = ParsedPipeline::Open(folder)->Version().value();
  EXPECT_EQ(ParsedPipeline::Open(folder)->Version().value(), version);
  Edit(folder / "text_encoder/config.json", [](Json& json) { json["note"] = 1; });
  EXPECT_NE(ParsedPipeline::Open(folder)->Version().value(), version);
}

// As the library does: people change a model's scheduler in the index alone.
TEST_F(ParsedPipelineTest, TheIndexNamesTheScheduler) {
  const auto folder = Copy("sd15-like");
  Edit(folder / "model_index.json", [](Json& json) { json["scheduler"][1] = "PNDMScheduler"; });
  WriteFile(folder / "scheduler/scheduler_config.json",
            R"({"_class_name": "DPMSolverMultistepScheduler", "beta_schedule": "scaled_linear",
                "lambda_min_clipped": -Infinity, "num_train_timesteps": 900})");
  const auto parsed = ParsedPipeline::OpenConfigs(folder);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const SchedulerConfig& scheduler = parsed->description().scheduler;
  EXPECT_EQ(scheduler.class_name, "PNDMScheduler");
  EXPECT_EQ(scheduler.sampler.sampler, SamplerKind::kPndm);
  EXPECT_EQ(std::get<VpOptions>(scheduler.schedule).num_train_timesteps, 900);

  Edit(folder / "model_index.json", [](Json& json) { json["scheduler"][1] = "MyScheduler"; });
  ExpectRefused(folder, "model_index.json: scheduler: must be one of");
}

TEST_F(ParsedPipelineTest, UnusedPartsAreNamed) {
  const auto folder = Copy("sd15-like");
  Edit(folder / "model_index.json", [](Json& json) {
    json["safety_checker"] = {"stable_diffusion", "StableDiffusionSafetyChecker"};
  });
  const auto parsed = ParsedPipeline::OpenConfigs(folder);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_THAT(parsed->description().ignored_parts, ElementsAre("safety_checker"));
}

TEST_F(ParsedPipelineTest, UnknownPartsAreRefusedByName) {
  const auto folder = Copy("sd15-like");
  Edit(folder / "model_index.json", [](Json& json) {
    json["controlnet"] = {"diffusers", "ControlNetModel"};
  });
  ExpectRefused(folder, "controlnet");
  Edit(folder / "model_index.json", [](Json& json) {
    json.erase("controlnet");
    json["unet"][1] = "SD3Transformer2DModel";
  });
  ExpectRefused(folder, "SD3Transformer2DModel");
}

TEST_F(ParsedPipelineTest, PartsThatDoNotFitTogetherAreRefused) {
  auto folder = Copy("sd15-like");
  std::filesystem::remove_all(folder / "vae");
  std::filesystem::copy("tests/data/pipelines/ldm-like/vqvae", folder / "vae");
  Edit(folder / "model_index.json", [](Json& json) { json["vae"][1] = "VQModel"; });
  ExpectRefused(folder, "unet/config.json");

  folder = Copy("sd15-like");
  Edit(folder / "unet/config.json", [](Json& json) { json["cross_attention_dim"] = 48; });
  ExpectRefused(folder, "cross_attention_dim: is 48, but the text encoders' states");

  folder = Copy("sd15-like");
  Edit(folder / "text_encoder/config.json", [](Json& json) { json["vocab_size"] = 100; });
  ExpectRefused(folder, "text_encoder/config.json: vocab_size: is 100");
}

TEST_F(ParsedPipelineTest, AVocabularyThatMissesAMergeIsRefused) {
  const auto folder = Copy("sd15-like");
  std::string merges = ReadFile(folder / "tokenizer/merges.txt");
  merges += "\nzq qz\n";
  WriteFile(folder / "tokenizer/merges.txt", merges);
  ExpectRefused(folder, "tokenizer: merges.txt");
}

TEST_F(ParsedPipelineTest, WeightsThatAreNotFiniteAreRefusedByName) {
  const auto folder = Copy("sd15-like");
  const std::string name = "conv_in.bias";
  const std::filesystem::path file = folder / "unet/diffusion_pytorch_model.safetensors";
  const at::Tensor bias = SafetensorsFile::Open(file)->Get(name)->clone();
  Replace(file, name, at::full_like(bias, std::numeric_limits<float>::quiet_NaN()));
  ExpectRefused(folder, "unet/diffusion_pytorch_model.safetensors: conv_in.bias");
}

// A link to itself stands for a file without permission, which the superuser may read.
TEST_F(ParsedPipelineTest, FilesThatCannotBeOpenedAreNamedToCallers) {
  const auto folder = Copy("sd15-like");
  std::filesystem::remove_all(folder / "unet");
  std::filesystem::create_directory_symlink("unet", folder / "unet");
  const absl::Status status = LoadStatus(folder);
  EXPECT_FALSE(WithholdsMessage(status)) << status;
  EXPECT_THAT(std::string(status.message()), StartsWith("unet/config.json: cannot be opened: "));
}

TEST_F(ParsedPipelineTest, PipelinesOfOtherKindsAreRefusedByName) {
  const auto folder = folder_.path() / "other";
  std::filesystem::create_directory(folder);
  for (const auto& [pipeline, network, network_class] :
       {std::tuple{"FluxPipeline", "transformer", "FluxTransformer2DModel"},
        std::tuple{"StableDiffusionControlNetPipeline", "unet", "UNet2DConditionModel"},
        std::tuple{"IFPipeline", "unet", "UNet2DConditionModel"}}) {
    const Json index = {{"_class_name", pipeline},
                        {"scheduler", {"diffusers", "DDPMScheduler"}},
                        {network, {"diffusers", network_class}}};
    WriteFile(folder / "model_index.json", index.dump());
    ExpectRefused(folder, absl::StrCat("model_index.json: _class_name: the pipeline \"", pipeline,
                                       "\" is not supported; these are: DDPMPipeline"));
  }
  WriteFile(folder / "model_index.json", R"({"scheduler": ["diffusers", "DDPMScheduler"]})");
  ExpectRefused(folder, "model_index.json: _class_name: must name the pipeline's class");
  WriteFile(folder / "model_index.json", "{");
  ExpectRefused(folder, "model_index.json: ");
}

TEST_F(ParsedPipelineTest, PixelPipelinesMayHaveAnyName) {
  const auto folder = folder_.path() / "pixels";
  std::filesystem::copy("deploy/models/emoji-32", folder, std::filesystem::copy_options::recursive);
  Edit(folder / "model_index.json", [](Json& json) { json["_class_name"] = "MyPipeline"; });
  EXPECT_TRUE(LoadStatus(folder).ok()) << LoadStatus(folder);
}

TEST_F(ParsedPipelineTest, MissingPartsAreNotFound) {
  const auto folder = Copy("sd15-like");
  std::filesystem::remove(folder / "vae/config.json");
  const absl::Status status = LoadStatus(folder);
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("vae/config.json"));
}

}  // namespace
}  // namespace denoise
