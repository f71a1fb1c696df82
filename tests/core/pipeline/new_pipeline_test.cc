// New models with random weights.
#include "core/pipeline/new_pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/io/weights.h"
#include "core/pipeline/parsed_pipeline.h"
#include "core/pipeline/published_configs.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

const fs::path kRoot = "tests/data/pipelines";

using Texts = std::map<std::string, std::string>;

// Those of a small model.
Texts TextsOf(const std::string& name) {
  return ParsedPipeline::OpenConfigs(kRoot / name).value().Texts();
}

ParsedPipeline Open(const fs::path& folder) {
  auto model = ParsedPipeline::Open(folder);
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

class NewPipelines : public testing::TestWithParam<std::string> {};

TEST_P(NewPipelines, LoadWithFiniteWeights) {
  const TempDir temp;
  const fs::path folder = temp.path() / "model";
  const absl::Status written = WriteNewPipeline(folder, TextsOf(GetParam()), {});
  ASSERT_TRUE(written.ok()) << written;
  const ParsedPipeline model = Open(folder);
  const auto loaded = model.Load({});
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(model.Texts(), TextsOf(GetParam()));
}

TEST_P(NewPipelines, HaveThePartsOfTheModelThatTheyAreLike) {
  const TempDir temp;
  const fs::path folder = temp.path() / "model";
  ASSERT_TRUE(WriteNewPipeline(folder, TextsOf(GetParam()), {.dtype = at::kBFloat16}).ok());
  const ParsedPipeline model = Open(folder), like = Open(kRoot / GetParam());
  for (const PartDescription& part : like.description().parts) {
    int64_t parameters = 0;
    for (const auto& [name, tensor] : model.FindWeights(part.name)->tensors) {
      EXPECT_EQ(tensor.scalar_type(), at::kBFloat16) << name;
      parameters += tensor.numel();
    }
    EXPECT_EQ(parameters, part.num_parameters) << part.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, NewPipelines,
                         testing::Values("sd15-like", "sdxl-like", "ldm-like"),
                         [](const auto& param_info) {
                           std::string name = param_info.param;
                           std::erase(name, '-');
                           return name;
                         });

TEST(NewPipeline, FollowsFromTheSeed) {
  const TempDir temp;
  const auto version = [&](const std::string& name, uint64_t seed) {
    EXPECT_TRUE(WriteNewPipeline(temp.path() / name, TextsOf("sd15-like"), {.seed = seed}).ok());
    return Open(temp.path() / name).Version().value();
  };
  const std::string first = version("first", 3);
  EXPECT_EQ(version("again", 3), first);
  EXPECT_NE(version("other", 4), first);
}

TEST(NewPipeline, DoesNotReplaceAFolder) {
  const TempDir temp;
  EXPECT_TRUE(absl::IsAlreadyExists(WriteNewPipeline(temp.path(), TextsOf("sd15-like"), {})));
}

TEST(NewPipeline, ReportsItsProgress) {
  const TempDir temp;
  std::map<std::string, std::vector<int64_t>> reports;
  const auto progress = [&](const PartDescription& part, int64_t written) {
    reports[part.name].push_back(written);
    return absl::OkStatus();
  };
  const fs::path folder = temp.path() / "model";
  ASSERT_TRUE(WriteNewPipeline(folder, TextsOf("sd15-like"), {.progress = progress}).ok());
  const auto parts = Open(folder).description().parts;
  ASSERT_EQ(reports.size(), parts.size());
  for (const PartDescription& part : parts) {
    EXPECT_EQ(reports[part.name].front(), 0);
    EXPECT_EQ(reports[part.name].back(), part.num_parameters);
  }
}

TEST(NewPipeline, LeavesNothingWhenItIsStopped) {
  const TempDir temp;
  const auto stop = [](const PartDescription&, int64_t written) {
    return written > 1000 ? absl::CancelledError("stopped") : absl::OkStatus();
  };
  const absl::Status status =
      WriteNewPipeline(temp.path() / "model", TextsOf("sd15-like"), {.progress = stop});
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_TRUE(fs::is_empty(temp.path()));
}

TEST(NewPipeline, NamesWhatIsWrongWithItsConfigurations) {
  const TempDir temp;
  Texts texts = TextsOf("sd15-like");
  texts["unet/config.json"] = R"({"block_out_channels": [-1]})";
  const absl::Status config = WriteNewPipeline(temp.path() / "model", texts, {});
  EXPECT_TRUE(absl::IsInvalidArgument(config)) << config;
  EXPECT_THAT(std::string(config.message()), HasSubstr("unet/config.json: block_out_channels"));
  texts["model_index.json"] = R"({"_class_name": "DDPMPipeline"})";
  const absl::Status pixels = WriteNewPipeline(temp.path() / "model", texts, {});
  EXPECT_TRUE(absl::IsInvalidArgument(pixels)) << pixels;
  EXPECT_THAT(std::string(pixels.message()), HasSubstr("model_index.json: _class_name"));
  EXPECT_TRUE(fs::is_empty(temp.path()));
}

TEST(NewPipeline, DeclaresPartsAbsentThatItDoesNotWrite) {
  const TempDir temp;
  Texts texts = TextsOf("sd15-like");
  std::string& index = texts["model_index.json"];
  const std::string absent = "\"safety_checker\": [\n    null,\n    null\n  ]";
  ASSERT_NE(index.find(absent), std::string::npos);
  index.replace(index.find(absent), absent.size(),
                R"("safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"])");
  ASSERT_TRUE(WriteNewPipeline(temp.path() / "model", texts, {}).ok());
  EXPECT_THAT(Open(temp.path() / "model").description().ignored_parts, IsEmpty());
}

// The configurations of a published model with what PublishedTexts adds, parsed.
PipelineDescription Describe(const std::string& name, const fs::path& tokenizer) {
  const TempDir temp;
  const Texts texts = PublishedTexts(name, tokenizer).value();
  for (const auto& [file, text] : texts) {
    fs::create_directories((temp.path() / file).parent_path());
    WriteFile(temp.path() / file, text);
  }
  const auto model = ParsedPipeline::OpenConfigs(temp.path());
  EXPECT_TRUE(model.ok()) << model.status();
  return model->description();
}

std::vector<std::pair<std::string, int64_t>> SizesOf(const PipelineDescription& description) {
  std::vector<std::pair<std::string, int64_t>> sizes;
  for (const PartDescription& part : description.parts) {
    sizes.emplace_back(part.name, part.num_parameters);
  }
  return sizes;
}

TEST(PublishedTexts, HaveTheSizesOfThePublishedModels) {
  EXPECT_THAT(SizesOf(Describe("sd15", "")),
              ElementsAre(Pair("unet", 859'520'964), Pair("vae", 83'653'863),
                          Pair("text_encoder", 123'060'480)));
  EXPECT_THAT(SizesOf(Describe("sdxl", "")),
              ElementsAre(Pair("unet", 2'567'463'684), Pair("vae", 83'653'863),
                          Pair("text_encoder", 123'060'480), Pair("text_encoder_2", 694'659'840)));
}

TEST(PublishedTexts, HoldNothingThatIsIgnored) {
  for (const std::string& name : PublishedConfigNames()) {
    const PipelineDescription description = Describe(name, "");
    EXPECT_THAT(description.ignored_keys, IsEmpty()) << name;
    EXPECT_THAT(description.ignored_parts, IsEmpty()) << name;
  }
}

int64_t TokensOf(const PipelineDescription& description, const std::string& prompt) {
  return description.prompts->Read({.text = prompt}).value()->texts.front().num_tokens;
}

TEST(PublishedTexts, HoldTheTokenizerThatIsAskedFor) {
  EXPECT_EQ(TokensOf(Describe("sd15", ""), "a photo"), 6) << "one token a byte, none a space";
  EXPECT_EQ(TokensOf(Describe("sd15", "tests/data/text/clip"), "a photo"), 2);
}

TEST(PublishedTexts, SayWhatIsMissing) {
  EXPECT_TRUE(absl::IsNotFound(PublishedTexts("sd16", "").status()));
  EXPECT_THAT(std::string(PublishedTexts("sd16", "").status().message()),
              HasSubstr("choose sd15 or sdxl"));
  const TempDir empty;
  EXPECT_TRUE(absl::IsNotFound(PublishedTexts("sd15", empty.path()).status()));
}

}  // namespace
}  // namespace denoise
