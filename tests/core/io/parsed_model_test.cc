#include "core/io/parsed_model.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "core/base/field_violations.h"
#include "core/io/model_writer.h"
#include "tests/core/io/io_testing.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr char kStarter[] = "deploy/models/emoji-32";

TEST(ParsedModel, SaysWhatTheTextsMean) {
  const auto model = ParsedModel::Open(kStarter);
  ASSERT_TRUE(model.ok()) << model.status();
  const ModelDescription& description = model->description();
  EXPECT_EQ(description.unet.height, 32);
  EXPECT_EQ(description.id2label.at(7), "symbols");
  EXPECT_EQ(description.null_class_label, 8);
  EXPECT_EQ(description.scheduler.class_name, "DDPMScheduler");
  EXPECT_EQ(description.schedule.num_train_timesteps(), 1000);
}

TEST(ParsedModel, ErrorsNameTheFileAndTheField) {
  ModelTexts texts = ParsedModel::Open(kStarter)->texts();
  json index = json::parse(texts.model_index);
  index["null_class_label"] = 9;
  texts.model_index = index.dump();
  const absl::Status status = ParsedModel::Parse(texts).status();
  ExpectStatus(status, kInvalid, "model_index.json: null_class_label: labels are 0 to 8");
  EXPECT_EQ(GetFieldViolations(status).front().field, "null_class_label");
}

TEST(ParsedModel, TextsThatDoNotBelongTogetherAreRefused) {
  const ModelTexts good = ParsedModel::Open(kStarter)->texts();
  EXPECT_TRUE(ParsedModel::Parse(good).ok());
  ModelTexts texts = good;
  texts.scheduler_config = R"({"num_train_timesteps": -1})";
  ExpectStatus(ParsedModel::Parse(texts).status(), kInvalid,
               "scheduler/scheduler_config.json: num_train_timesteps");
  texts = good;
  texts.model_index = "{";
  ExpectStatus(ParsedModel::Parse(texts).status(), kInvalid, "model_index.json: ");
  ExpectStatus(ParsedModel::Parse(texts, {.model_index = "elsewhere.json"}).status(), kInvalid,
               "elsewhere.json: ");
}

// At timestep 0 the logarithm is infinite and the network's output NaN.
TEST(ParsedModel, FourierEmbeddingsTakeOnlySchedulesWhoseTimestepsAreAboveZero) {
  const ModelTexts starter = ParsedModel::Open(kStarter)->texts();
  const auto parse = [&](const std::string& scheduler, const json& config) {
    ModelTexts texts = starter;
    json index = json::parse(texts.model_index), unet = json::parse(texts.unet_config);
    index["scheduler"][1] = scheduler;
    unet["time_embedding_type"] = "fourier";
    texts.model_index = index.dump();
    texts.unet_config = unet.dump();
    texts.scheduler_config = config.dump();
    return ParsedModel::Parse(texts).status();
  };
  const std::string flow = "FlowMatchEulerDiscreteScheduler";
  EXPECT_EQ(parse(flow, {{"_class_name", flow}}), absl::OkStatus());
  const std::string refusal =
      "time_embedding_type: fourier takes the logarithm of timesteps, but this schedule has some "
      "at or below 0";
  ExpectStatus(parse(flow, {{"_class_name", flow}, {"invert_sigmas", true}}), kInvalid, refusal);
  for (const char* scheduler : {"DDPMScheduler", "EDMEulerScheduler"}) {
    ExpectStatus(parse(scheduler, {{"_class_name", scheduler}}), kInvalid, refusal);
  }
}

TEST(ParsedModel, LoadedWeightsKeepNoHoldOfTheFolder) {
  const TempDir folder;
  const fs::path path = folder.path() / "model";
  ASSERT_TRUE(WriteModel(path, *ParsedModel::Open(kStarter)).ok());
  const auto weights = ParsedModel::Open(path)->LoadWeights();
  fs::resize_file(path / "unet/diffusion_pytorch_model.safetensors", 0);
  ASSERT_TRUE(weights.ok()) << weights.status();
  for (const auto& [name, tensor] : *weights) tensor.sum();  // SIGBUS if they were a view
}

}  // namespace
}  // namespace denoise
