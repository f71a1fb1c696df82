#include "core/io/new_model.h"

#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/ones.h>

#include <nlohmann/json.hpp>

#include "core/base/field_violations.h"
#include "core/io/checkpoint.h"
#include "core/io/model_writer.h"
#include "tests/core/io/io_testing.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::IsEmpty;

NewModelOptions Small() {
  return {.height = 16, .width = 16, .block_out_channels = {16, 32}, .layers_per_block = 1};
}

std::vector<std::string> ViolatedFields(const NewModelOptions& options) {
  std::vector<std::string> fields;
  for (const auto& [field, description] : GetFieldViolations(NewModel(options).status())) {
    fields.push_back(field);
  }
  return fields;
}

ModelDescription Described(const NewModelOptions& options) {
  const auto model = NewModel(options);
  EXPECT_TRUE(model.ok()) << model.status();
  return model->description();
}

json UNetJson(const NewModelOptions& options) {
  return json::parse(NewModel(options)->texts().unet_config);
}

TEST(NewModel, DefaultsAreThoseOfTheContract) {
  const ModelDescription model = Described({.height = 32, .width = 32});
  EXPECT_EQ(model.unet.in_channels, 3);
  EXPECT_EQ(model.unet.out_channels, 3);
  EXPECT_THAT(model.unet.block_out_channels, ElementsAre(64, 128, 128, 128));
  std::vector<bool> attention;
  for (const UNet2DLevel& level : model.unet.down_blocks) attention.push_back(level.attention);
  EXPECT_THAT(attention, ElementsAre(false, true, true, true));  // 16 x 16 and less
  EXPECT_TRUE(model.unet.up_blocks.front().attention);
  EXPECT_FALSE(model.unet.up_blocks.back().attention);
  EXPECT_EQ(model.unet.layers_per_block, 2);
  EXPECT_EQ(model.unet.norm_num_groups, 32);
  EXPECT_EQ(model.unet.attention_head_dim, 64);
  EXPECT_EQ(model.unet.num_class_embeds, 0);
  EXPECT_EQ(model.scheduler.class_name, "DDPMScheduler");
  EXPECT_EQ(model.scheduler.sampler.prediction_type, PredictionType::kVPrediction);
  EXPECT_EQ(std::get<VpOptions>(model.scheduler.schedule).beta_schedule,
            BetaSchedule::kSquaredCosCapV2);
}

// A model of the library, save what the options change.
TEST(NewModel, HasTheKeysOfAModelThatTheLibraryWrote) {
  const auto keys_of = [](const std::string& text) {
    const json object = json::parse(text);
    std::vector<std::string> keys;
    for (const auto& [key, value] : object.items()) keys.push_back(key);
    return keys;
  };
  NewModelOptions options = Small();
  options.class_names = {"cat"};
  const auto model = NewModel(options);
  ASSERT_TRUE(model.ok()) << model.status();
  const ModelTexts& texts = model->texts();
  const std::string starter = "deploy/models/emoji-32/";
  EXPECT_EQ(keys_of(texts.model_index), keys_of(ReadFile(starter + "model_index.json")));
  EXPECT_EQ(keys_of(texts.unet_config), keys_of(ReadFile(starter + "unet/config.json")));
  EXPECT_EQ(keys_of(texts.scheduler_config),
            keys_of(ReadFile(starter + "scheduler/scheduler_config.json")));
}

TEST(NewModel, WithItsWeightsItLoadsAndRuns) {
  for (const char* schedule :
       {"linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "edm", "flow"}) {
    SCOPED_TRACE(schedule);
    NewModelOptions options = Small();
    options.noise_schedule = schedule;
    options.class_names = {"cat", "dog"};
    auto model = NewModel(options);
    ASSERT_TRUE(model.ok()) << model.status();
    model->SetWeights(InitializeUNet2D(model->description().unet, 1));
    const TempDir folder;
    ASSERT_TRUE(WriteModel(folder.path() / "model", *model).ok());
    const auto checkpoint = LoadCheckpoint(folder.path() / "model", {});
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    EXPECT_EQ(checkpoint->id2label, (std::map<int64_t, std::string>{{0, "cat"}, {1, "dog"}}));
    EXPECT_EQ(checkpoint->null_class_label, 2);
    const at::Tensor output = checkpoint->network->Forward(
        {at::ones({1, 3, 16, 16}), at::full({1}, 10, at::kFloat), at::full({1}, 2, at::kLong)});
    EXPECT_TRUE(output.isfinite().all().item<bool>());
  }
}

TEST(NewModel, EverySchedulePredictsWhatItMay) {
  const std::map<std::string, std::vector<std::string>> allowed = {
      {"linear", {"", "epsilon", "sample", "v_prediction"}},
      {"edm", {"", "epsilon", "v_prediction"}},
      {"flow", {"", "flow_prediction"}}};
  for (const auto& [schedule, predictions] : allowed) {
    for (const std::string prediction :
         {"", "epsilon", "sample", "v_prediction", "flow_prediction", "else"}) {
      NewModelOptions options = Small();
      options.noise_schedule = schedule;
      options.prediction_type = prediction;
      const bool fits =
          std::find(predictions.begin(), predictions.end(), prediction) != predictions.end();
      EXPECT_THAT(ViolatedFields(options),
                  fits ? testing::Matcher<std::vector<std::string>>(IsEmpty())
                       : ElementsAre("prediction_type"))
          << schedule << " " << prediction;
    }
  }
  NewModelOptions options = Small();
  options.noise_schedule = "edm";
  EXPECT_EQ(Described(options).scheduler.sampler.prediction_type, PredictionType::kEpsilon);
  options.noise_schedule = "flow";
  EXPECT_EQ(Described(options).scheduler.sampler.prediction_type, PredictionType::kFlowPrediction);
}

TEST(NewModel, FewTimestepsDestroyAsMuchAsMany) {
  for (const char* name : {"linear", "scaled_linear", "sigmoid", "squaredcos_cap_v2"}) {
    for (int timesteps : {50, 100, 1000, 10'000}) {
      NewModelOptions options = Small();
      options.noise_schedule = name;
      options.num_train_timesteps = timesteps;
      const Schedule schedule = Described(options).schedule;
      EXPECT_LT(schedule.LevelAt(timesteps - 1).alpha, 0.04) << name << " " << timesteps;
    }
  }
}

TEST(NewModel, LearnedVarianceDoublesTheOutputs) {
  NewModelOptions options = Small();
  options.learned_variance = true;
  const ModelDescription model = Described(options);
  EXPECT_EQ(model.unet.out_channels, 6);
  EXPECT_EQ(model.scheduler.sampler.variance_type, VarianceType::kLearnedRange);
  for (const char* schedule : {"edm", "flow"}) {
    options.noise_schedule = schedule;
    EXPECT_THAT(ViolatedFields(options), ElementsAre("learned_variance"));
  }
}

TEST(NewModel, NormGroupsAreTheLargestPowerOfTwoThatDivides) {
  NewModelOptions options = Small();
  options.block_out_channels = {48, 96};
  EXPECT_EQ(UNetJson(options)["norm_num_groups"], 16);
  EXPECT_EQ(UNetJson(options)["attention_head_dim"], nullptr);  // 64 does not divide 96
  options.block_out_channels = {9, 15};
  EXPECT_EQ(UNetJson(options)["norm_num_groups"], 1);
  options.block_out_channels = {32, 64};
  EXPECT_EQ(UNetJson(options)["norm_num_groups"], 32);
}

TEST(NewModel, AttentionIsWhereItIsAskedFor) {
  NewModelOptions options = Small();
  options.attention_levels = {1};
  EXPECT_EQ(UNetJson(options)["down_block_types"], json({"DownBlock2D", "AttnDownBlock2D"}));
  EXPECT_EQ(UNetJson(options)["up_block_types"], json({"AttnUpBlock2D", "UpBlock2D"}));
  EXPECT_EQ(UNetJson(options)["add_attention"], true);
  options.attention_levels.emplace();
  EXPECT_EQ(UNetJson(options)["down_block_types"], json({"DownBlock2D", "DownBlock2D"}));
  EXPECT_EQ(UNetJson(options)["add_attention"], false);
}

TEST(NewModel, ShapesNeedNotBeSquareOrColoured) {
  NewModelOptions options = Small();
  options.height = 12;
  options.channels = 1;
  options.scale_shift_norm = true;
  const ModelDescription model = Described(options);
  EXPECT_EQ(model.unet.height, 12);
  EXPECT_EQ(model.unet.width, 16);
  EXPECT_EQ(model.unet.in_channels, 1);
  EXPECT_EQ(model.unet.resnet_time_scale_shift, TimeShift::kScaleShift);
}

TEST(NewModel, EveryWrongOptionIsNamed) {
  NewModelOptions options = Small();
  options.height = 0;
  options.width = 1025;
  options.channels = 2;
  options.block_out_channels = {16, 4};
  options.layers_per_block = 9;
  options.num_train_timesteps = 1;
  options.noise_schedule = "cosine";
  EXPECT_THAT(ViolatedFields(options),
              ElementsAre("height", "width", "channels", "block_out_channels[1]",
                          "layers_per_block", "num_train_timesteps", "noise_schedule"));
  options = Small();
  options.height = 17;
  options.attention_levels = {0, 2};
  EXPECT_THAT(ViolatedFields(options), ElementsAre("height", "attention_levels[1]"));
  options = Small();
  options.block_out_channels = {};
  EXPECT_THAT(ViolatedFields(options), ElementsAre("block_out_channels"));
}

TEST(NewModel, ClassNamesAreNamedByTheirPlace) {
  NewModelOptions options = Small();
  options.class_names = {"cat", "", "do\ng"};
  EXPECT_THAT(ViolatedFields(options), ElementsAre("class_names[1]", "class_names[2]"));
  options.class_names = {"\xff"};
  EXPECT_THAT(ViolatedFields(options), ElementsAre("class_names"));
  options.class_names.assign(10'001, "x");
  EXPECT_THAT(ViolatedFields(options), ElementsAre("class_names"));
}

TEST(NewModel, WhatWouldNotFitInMemoryIsRefused) {
  NewModelOptions options = {.height = 128, .width = 128};
  options.block_out_channels = {2048, 2048, 2048, 2048};
  EXPECT_THAT(ViolatedFields(options), ElementsAre("block_out_channels"));
  options = {.height = 128, .width = 128, .attention_levels = {{0}}};
  EXPECT_THAT(ViolatedFields(options), ElementsAre("attention_levels[0]"));
  // The middle of a network attends, too.
  options = {.height = 128, .width = 128, .block_out_channels = {32}};
  EXPECT_THAT(ViolatedFields(options), ElementsAre("block_out_channels"));
  options.attention_levels.emplace();
  EXPECT_THAT(ViolatedFields(options), IsEmpty());
}

}  // namespace
}  // namespace denoise
