#include "core/io/model_index.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "tests/core/io/io_testing.h"

namespace denoise {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

nlohmann::json ValidIndex() {
  return {{"_class_name", "DDPMPipeline"},
          {"_diffusers_version", "0.40.0"},
          {"unet", {"diffusers", "UNet2DModel"}},
          {"scheduler", {"diffusers", "DDPMScheduler"}}};
}

TEST(ModelIndex, SaysWhatThePipelineIsMadeOf) {
  nlohmann::json json = ValidIndex();
  json["id2label"] = {
      {"0", "smileys"}, {"10", "smileys"}, {"2", "größer"}};  // names need not be unique
  json["null_class_label"] = 11;
  json["safety_checker"] = {nullptr, nullptr};
  const auto index = ParseModelIndex(json.dump());
  ASSERT_TRUE(index.ok()) << index.status();
  EXPECT_EQ(index->pipeline, "DDPMPipeline");
  EXPECT_EQ(index->library_version, "0.40.0");
  EXPECT_EQ(index->unet_class, "UNet2DModel");
  EXPECT_EQ(index->scheduler_class, "DDPMScheduler");
  EXPECT_EQ(index->id2label,
            (std::map<int64_t, std::string>{{0, "smileys"}, {2, "größer"}, {10, "smileys"}}));
  EXPECT_EQ(index->null_class_label, 11);
}

TEST(ModelIndex, LabelsAndVersionAreOptional) {
  nlohmann::json json = ValidIndex();
  json.erase("_diffusers_version");
  json["id2label"] = nullptr;
  json["null_class_label"] = nullptr;
  const auto index = ParseModelIndex(json.dump());
  ASSERT_TRUE(index.ok()) << index.status();
  EXPECT_TRUE(index->id2label.empty());
  EXPECT_EQ(index->null_class_label, std::nullopt);
}

TEST(ModelIndex, RefusesEachBrokenKeyByName) {
  struct Case {
    const char* key;
    const char* value;  // JSON; null erases the key
    const char* message;
  };
  const Case cases[] = {
      {"_class_name", nullptr, "_class_name: must be a printable string"},
      {"_class_name", "7", "_class_name: must be a printable string"},
      {"_class_name", "\"\"", "_class_name: must be a printable string"},
      {"_class_name", R"("a\u001b[31m")", "_class_name: must be a printable string"},
      {"_diffusers_version", "[]", "_diffusers_version: must be a printable string"},
      {"unet", nullptr, "unet: must be a pair"},
      {"unet", "[null, null]", "unet: must be a pair"},
      {"unet", R"(["diffusers"])", "unet: must be a pair"},
      {"unet", R"(["diffusers", "UNet2DConditionModel"])",
       "unet: \"UNet2DConditionModel\" is not supported"},
      {"scheduler", nullptr, "scheduler: must be a pair"},
      {"scheduler", R"("DDPMScheduler")", "scheduler: must be a pair"},
      {"vae", R"(["diffusers", "AutoencoderKL"])",
       "\"vae\": pipelines with this component are not supported"},
      {"text_encoder", R"(["transformers", "CLIPTextModel"])",
       "\"text_encoder\": pipelines with this component"},
      {"id2label", "[]", "id2label: must be an object"},
      {"id2label", R"({"a": "x"})", "\"a\" is not a class label"},
      {"id2label", R"({"-1": "x"})", "\"-1\" is not a class label"},
      {"id2label", R"({"01": "x"})", "\"01\" is not a class label"},
      {"id2label", R"({" 1": "x"})", "\" 1\" is not a class label"},
      {"id2label", R"({"9223372036854775808": "x"})",
       "\"9223372036854775808\" is not a class label"},
      {"id2label", R"({"1": 2})", "id2label.1: must be a printable string"},
      {"id2label", R"({"1": ""})", "id2label.1: must be a printable string"},
      {"id2label", R"({"1": "a\nb"})", "id2label.1: must be a printable string"},
      {"null_class_label", "-1", "null_class_label: must be a class label"},
      {"null_class_label", "1.0", "null_class_label: must be a class label"},
      {"null_class_label", "\"8\"", "null_class_label: must be a class label"},
      {"null_class_label", "9223372036854775808", "null_class_label: must be a class label"},
  };
  for (const Case& c : cases) {
    nlohmann::json json = ValidIndex();
    if (c.value == nullptr) {
      json.erase(c.key);
    } else {
      json[c.key] = nlohmann::json::parse(c.value);
    }
    const absl::Status status = ParseModelIndex(json.dump()).status();
    ExpectStatus(status, kInvalid, c.message);
    EXPECT_EQ(GetFieldViolations(status).size(), 1u) << status;
  }
}

TEST(ModelIndex, IgnoresAndNamesTheSettingsOfPipelines) {
  nlohmann::json json = ValidIndex();
  json["requires_safety_checker"] = true;
  json["scale"] = 0.5;
  json["feature_extractor"] = {nullptr, nullptr};
  const auto index = ParseModelIndex(json.dump());
  ASSERT_TRUE(index.ok()) << index.status();
  EXPECT_THAT(index->ignored_keys, testing::ElementsAre("requires_safety_checker", "scale"));
}

TEST(ModelIndex, RefusesNamesThatAreTooLong) {
  nlohmann::json json = ValidIndex();
  json["id2label"] = {{"0", std::string(256, 'a')}};
  EXPECT_TRUE(ParseModelIndex(json.dump()).ok());
  json["id2label"] = {{"0", std::string(257, 'a')}};
  ExpectStatus(ParseModelIndex(json.dump()).status(), kInvalid, "id2label.0");
}

TEST(ModelIndex, ReportsAllViolationsUpToABound) {
  nlohmann::json json = ValidIndex();
  json["vae"] = {"diffusers", "AutoencoderKL"};
  json["tokenizer"] = {"transformers", "CLIPTokenizer"};
  EXPECT_EQ(GetFieldViolations(ParseModelIndex(json.dump()).status()).size(), 2u);
  for (int i = 0; i < 1000; ++i) json[absl::StrCat("key", i)] = {"transformers", "Part"};
  EXPECT_LT(GetFieldViolations(ParseModelIndex(json.dump()).status()).size(), 100u);
}

TEST(ModelIndex, RefusesWhatIsNoObject) {
  ExpectStatus(ParseModelIndex("[]").status(), kInvalid, "not a JSON object");
  ExpectStatus(ParseModelIndex("{").status(), kInvalid, "not valid JSON");
}

TEST(CheckLabels, HoldsLabelsAgainstTheNetwork) {
  ModelIndex index;
  EXPECT_TRUE(CheckLabels(index, 0).ok());
  index.id2label = {{0, "a"}, {7, "b"}};
  index.null_class_label = 8;
  EXPECT_TRUE(CheckLabels(index, 9).ok());
  ExpectStatus(CheckLabels(index, 8), kInvalid, "null_class_label: labels are 0 to 7");
  ExpectStatus(CheckLabels(index, 7), kInvalid, "id2label.7: labels are 0 to 6");
  ExpectStatus(CheckLabels(index, 0), kInvalid, "not class-conditional");
}

}  // namespace
}  // namespace denoise
