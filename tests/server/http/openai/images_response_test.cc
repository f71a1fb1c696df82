#include "server/http/openai/images_response.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/http/openai/model_objects.h"

namespace denoise::openai {
namespace {

namespace v1 = denoised::v1;
using Json = nlohmann::json;

v1::Image Picture(int channels = 3) {
  v1::Image image;
  image.set_data("\xff\xfe");
  image.set_encoding(v1::ENCODING_WEBP);
  image.set_channels(channels);
  image.set_height(32);
  image.set_width(48);
  return image;
}

v1::GenerateEvent Event() {
  v1::GenerateEvent event;
  event.mutable_time()->set_seconds(1000);
  return event;
}

v1::Accepted AcceptedPrompt() {
  v1::Accepted accepted;
  accepted.mutable_prompt()->set_tokens(5);
  accepted.mutable_negative_prompt()->set_tokens(2);
  return accepted;
}

// What follows "data: " of the one event.
Json DataOf(const std::string& event, const std::string& name) {
  const std::string start = "event: " + name + "\ndata: ";
  EXPECT_TRUE(event.starts_with(start)) << event;
  return Json::parse(event.substr(start.size()));
}

Json Answer(const v1::Accepted& accepted, int images, int64_t created) {
  std::string text = BeginImages(accepted, Picture(), created);
  for (int i = 0; i < images; ++i) {
    v1::GeneratedImage image;
    image.set_seed(7 + i);
    *image.mutable_image() = Picture();
    absl::StrAppend(&text, i == 0 ? "" : kBetweenImages, ImageObject(image));
  }
  return Json::parse(absl::StrCat(text, kEndOfImages));
}

TEST(ImagesResponse, HasTheImagesAndWhatTheyAre) {
  EXPECT_EQ(
      Answer({}, /*images=*/2, 1000),
      Json({{"created", 1000},
            {"data", {{{"b64_json", "//4="}, {"seed", 7}}, {{"b64_json", "//4="}, {"seed", 8}}}},
            {"background", "opaque"},
            {"output_format", "webp"},
            {"size", "48x32"}}));
}

TEST(ImagesResponse, CountsTokensWhereThereAreSome) {
  v1::Accepted accepted = AcceptedPrompt();
  const Json usage = {{"input_tokens", 7},
                      {"input_tokens_details", {{"text_tokens", 7}, {"image_tokens", 0}}},
                      {"output_tokens", 0},
                      {"total_tokens", 7}};
  Json answer = Answer(accepted, /*images=*/1, 0);
  EXPECT_EQ(answer["usage"], usage);
  EXPECT_FALSE(answer.contains("prompt_truncated"));
  accepted.mutable_prompt()->set_truncated(true);
  EXPECT_EQ(Answer(accepted, /*images=*/1, 0)["prompt_truncated"], true);
}

TEST(ImagesResponse, NamesEventsAsTheApiDoes) {
  v1::GenerateEvent frame = Event(), image = Event();
  frame.mutable_frame()->set_image_index(1);
  frame.mutable_frame()->set_step(5);
  *frame.mutable_frame()->mutable_image() = Picture();
  image.mutable_image()->set_image_index(1);
  image.mutable_image()->set_seed(8);
  *image.mutable_image()->mutable_image() = Picture(4);
  EXPECT_EQ(
      DataOf(PartialImageEvent(Endpoint::kGenerations, frame, 2), "image_generation.partial_image"),
      Json({{"type", "image_generation.partial_image"},
            {"b64_json", "//4="},
            {"created_at", 1000},
            {"quality", "auto"},
            {"background", "opaque"},
            {"output_format", "webp"},
            {"size", "48x32"},
            {"partial_image_index", 2},
            {"image_index", 1},
            {"step", 5}}));
  const v1::Accepted accepted = AcceptedPrompt();
  const Json completed =
      DataOf(CompletedEvent(Endpoint::kEdits, image, &accepted), "image_edit.completed");
  EXPECT_EQ(completed["background"], "transparent");
  EXPECT_EQ(completed["seed"], 8);
  EXPECT_EQ(completed["usage"]["total_tokens"], 7);
  EXPECT_FALSE(DataOf(CompletedEvent(Endpoint::kEdits, image, nullptr), "image_edit.completed")
                   .contains("usage"));
}

TEST(ModelObjects, SayWhatARequestNeeds) {
  v1::ListModelsResponse models;
  v1::Model& model = *models.add_models();
  model.set_name("models/emoji@2");
  model.set_width(48);
  model.set_height(32);
  model.add_classes()->set_display_name("smileys");
  const Json object = {
      {"id", "emoji@2"},        {"object", "model"},       {"created", 0},
      {"owned_by", "denoised"}, {"size", "48x32"},         {"size_multiple", 0},
      {"takes_prompts", false}, {"takes_adapters", false}, {"classes", {"smileys"}}};
  EXPECT_EQ(Json::parse(ModelJson(model)), object);
  EXPECT_EQ(Json::parse(ModelListJson(models)),
            Json({{"object", "list"}, {"data", Json::array({object})}}));
}

}  // namespace
}  // namespace denoise::openai
