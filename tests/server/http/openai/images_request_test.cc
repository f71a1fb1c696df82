#include "server/http/openai/images_request.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/base/field_violations.h"
#include "core/image/image.h"

namespace denoise::openai {
namespace {

namespace v1 = denoised::v1;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

constexpr int64_t kPixelsMax = 1000;

v1::Model TextModel() {
  v1::Model model;
  model.set_name("models/sd");
  model.set_takes_prompts(true);
  model.set_size_multiple(8);
  model.mutable_default_sampler()->set_steps(20);
  return model;
}

v1::Model ClassModel() {
  v1::Model model;
  model.set_name("models/emoji");
  model.set_width(48);
  model.set_height(32);
  for (const char* name : {"smileys", "people"}) {
    auto& entry = *model.add_classes();
    entry.set_label(model.classes_size() - 1);
    entry.set_display_name(name);
  }
  return model;
}

absl::StatusOr<ImagesRequest> Generations(const json& fields,
                                          const v1::Model& model = TextModel()) {
  const RequestBody body{.fields = fields, .image = {}, .mask = {}};
  return TranslateRequest(Endpoint::kGenerations, body, model, kPixelsMax);
}

absl::StatusOr<ImagesRequest> Edits(const json& fields, std::string_view image,
                                    std::string_view mask = {}) {
  const RequestBody body{.fields = fields, .image = image, .mask = mask};
  return TranslateRequest(Endpoint::kEdits, body, TextModel(), kPixelsMax);
}

v1::GenerateRequest Expected(const std::string& text) {
  v1::GenerateRequest request;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &request)) << text;
  return request;
}

void ExpectRequest(const absl::StatusOr<ImagesRequest>& request, const std::string& text) {
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(request->generate, Expected(text)))
      << request->generate.ShortDebugString();
}

std::vector<std::string> WrongFields(const absl::StatusOr<ImagesRequest>& request) {
  std::vector<std::string> names;
  for (const FieldViolation& violation : GetFieldViolations(request.status())) {
    names.push_back(violation.field);
  }
  return names;
}

std::string ErrorOf(const absl::StatusOr<ImagesRequest>& request) {
  return std::string(request.status().message());
}

std::string Png(std::initializer_list<uint8_t> pixel) {
  return *EncodeImage(Image{1, 1, static_cast<int>(pixel.size()), pixel}, ImageFormat::kPng);
}

TEST(ImagesRequest, NamesModelsWithOrWithoutTheirCollection) {
  const auto name = [](const json& fields) { return RequestedModel({.fields = fields}); };
  EXPECT_EQ(*name({{"model", "sd"}}), "models/sd");
  EXPECT_EQ(*name({{"model", "models/sd"}}), "models/sd");
  EXPECT_EQ(*name(json::object()), "");
  EXPECT_EQ(*name({{"model", nullptr}}), "");
  EXPECT_TRUE(absl::IsInvalidArgument(name({{"model", 1}}).status()));
}

TEST(ImagesRequest, SaysLittleWhereTheClientDoes) {
  ExpectRequest(Generations({{"prompt", "a fox"}, {"model", "sd"}}),
                R"(model: "models/sd" prompt: "a fox" sampler {} image_encoding: ENCODING_PNG)");
  ExpectRequest(Generations({{"prompt", ""}, {"class_label", 1}}, ClassModel()),
                R"(model: "models/emoji" class_label: 1 sampler {} image_encoding: ENCODING_PNG)");
}

TEST(ImagesRequest, TranslatesEveryField) {
  ExpectRequest(
      Generations({{"prompt", "a fox"},
                   {"negative_prompt", "blurry"},
                   {"model", "models/sd"},
                   {"n", 2},
                   {"size", "48x32"},
                   {"response_format", "b64_json"},
                   {"output_format", "webp"},
                   {"output_compression", 100},
                   {"user", "somebody"},
                   {"safety_identifier", "somebody"},
                   {"quality", "auto"},
                   {"background", "opaque"},
                   {"moderation", "auto"},
                   {"style", nullptr},
                   {"seed", 18446744073709551615u},
                   {"steps", 10},
                   {"sampler", "dpmpp_2m_sde"},
                   {"guidance_scale", 3.5},
                   {"adapters", {{{"name", "ink"}, {"scale", 0.5}}, {{"name", "adapters/wood"}}}},
                   {"stream", true},
                   {"partial_images", 3}}),
      R"(model: "models/sd" prompt: "a fox" negative_prompt: "blurry" count: 2 width: 48 height: 32
         image_encoding: ENCODING_WEBP seed: 18446744073709551615 sampler { sampler: SAMPLER_DPMPP_SDE steps: 10
           solver_order: 2 }
         guidance { scale: 3.5 } adapters { name: "adapters/ink" scale: 0.5 }
         adapters { name: "adapters/wood" }
         frames { every_n_steps: 3 encoding: ENCODING_WEBP skip_last: true })");
  ExpectRequest(Generations({{"class_label", "1"}}, ClassModel()),
                R"(model: "models/emoji" class_label: 1 sampler {} image_encoding: ENCODING_PNG)");
  ExpectRequest(Generations({{"class_label", "people"}}, ClassModel()),
                R"(model: "models/emoji" class_label: 1 sampler {} image_encoding: ENCODING_PNG)");
  ExpectRequest(Generations({{"prompt", ""}, {"adapters", {{"ink", 2}}}}),
                R"(model: "models/sd" prompt: "" sampler {} image_encoding: ENCODING_PNG
                   adapters { name: "adapters/ink" scale: 2 })");
}

TEST(ImagesRequest, SpreadsPartialImagesAndNeverHasMore) {
  for (int steps = 1; steps <= 60; ++steps) {
    for (int most = 1; most <= 3; ++most) {
      const auto request = Generations(
          {{"prompt", ""}, {"steps", steps}, {"stream", true}, {"partial_images", most}});
      ASSERT_TRUE(request.ok()) << request.status();
      EXPECT_EQ(request->partial_images, most);
      const int every = request->generate.frames().every_n_steps();
      EXPECT_LE((steps - 1) / every, most) << steps;
      EXPECT_TRUE(every == 1 || (steps - 1) / (every - 1) > most) << "as many as possible";
    }
  }
  const auto by_default = Generations({{"prompt", ""}, {"stream", true}, {"partial_images", 1}});
  EXPECT_EQ(by_default->generate.frames().every_n_steps(), 10) << "of the model's 20 steps";
  EXPECT_FALSE(Generations({{"prompt", ""}, {"stream", true}})->generate.has_frames());
}

TEST(ImagesRequest, AnEditIsAStartFromTheImage) {
  const std::string image = Png({1, 2, 3, 255});
  const auto request = Edits(
      {{"prompt", "a fox"}, {"strength", 0.5}, {"stream", true}, {"partial_images", 1}}, image);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->generate.start().image().picture().data(), image);
  EXPECT_EQ(request->generate.start().image().strength(), 0.5);
  EXPECT_FALSE(request->generate.has_inpainting());
  EXPECT_EQ(request->generate.frames().every_n_steps(), 5) << "of the last 10 of 20 steps";
  EXPECT_EQ(Edits({{"prompt", ""}}, image)->generate.start().image().strength(), 0.8);
  EXPECT_TRUE(Edits({{"prompt", ""}}, "no picture")->generate.has_start()) << "the RPC refuses it";
}

TEST(ImagesRequest, AnEditWithAMaskMakesItsTransparentPartsAnew) {
  const std::string image = Png({1, 2, 3}), mask = Png({0, 0, 0, 0});
  const auto request = Edits({{"prompt", "a fox"}}, image, mask);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->generate.inpainting().picture().data(), image);
  EXPECT_EQ(request->generate.inpainting().mask().data(), mask);
  EXPECT_EQ(request->generate.inpainting().mask_channel(), v1::MASK_CHANNEL_TRANSPARENCY);
  EXPECT_FALSE(request->generate.has_start());
  EXPECT_THAT(WrongFields(Edits({{"prompt", ""}, {"strength", 1}}, image, mask)),
              ElementsAre("strength"));
}

TEST(ImagesRequest, TheTransparencyOfAnImageIsItsMask) {
  const std::string image = Png({1, 2, 3, 254});
  const auto request = Edits({{"prompt", "a fox"}}, image);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->generate.inpainting().picture().data(), image);
  EXPECT_FALSE(request->generate.inpainting().has_mask());
  EXPECT_EQ(request->generate.inpainting().mask_channel(), v1::MASK_CHANNEL_TRANSPARENCY);
  EXPECT_THAT(WrongFields(Edits({{"prompt", ""}, {"strength", 1}}, image)),
              ElementsAre("strength"));
}

TEST(ImagesRequest, NamesEveryFieldThatIsWrong) {
  EXPECT_THAT(WrongFields(Generations({{"n", "two"},
                                       {"size", "big"},
                                       {"response_format", "url"},
                                       {"output_format", "gif"},
                                       {"output_compression", 50},
                                       {"quality", "high"},
                                       {"style", "vivid"},
                                       {"background", "transparent"},
                                       {"moderation", "low"},
                                       {"partial_images", 4},
                                       {"stream", 1},
                                       {"seed", -1},
                                       {"steps", 1.5},
                                       {"sampler", "magic"},
                                       {"guidance_scale", "much"},
                                       {"strength", 0.5},
                                       {"user", 7},
                                       {"_note", 1}})),
              UnorderedElementsAre("prompt", "n", "size", "response_format", "output_format",
                                   "output_compression", "quality", "style", "background",
                                   "moderation", "partial_images", "stream", "seed", "steps",
                                   "sampler", "guidance_scale", "strength", "user", "_note"));
  EXPECT_THAT(WrongFields(Edits({{"input_fidelity", "high"}, {"strength", "x"}}, "")),
              UnorderedElementsAre("prompt", "input_fidelity", "strength", "image"));
}

TEST(ImagesRequest, SaysWhatIsAllowed) {
  EXPECT_THAT(ErrorOf(Generations({{"prompt", ""}, {"response_format", "url"}})),
              HasSubstr("response_format: must be b64_json"));
  EXPECT_THAT(ErrorOf(Generations({{"prompt", ""}, {"quality", "high"}})),
              HasSubstr("quality: must be auto or absent: "));
  EXPECT_THAT(ErrorOf(Generations({{"prompt", ""}, {"promt", "x"}})),
              HasSubstr("promt: is no field of /v1/images/generations"));
  EXPECT_THAT(ErrorOf(Generations({{"prompt", "a fox"}}, ClassModel())),
              HasSubstr("prompt: must be empty: models/emoji takes no prompts"));
  EXPECT_THAT(ErrorOf(Generations({{"size", "32x32"}}, ClassModel())),
              HasSubstr(R"(size: must be "auto" or "48x32", the only size of this model)"));
  EXPECT_EQ(Generations({{"size", "48x32"}}, ClassModel()).status(), absl::OkStatus());
  EXPECT_THAT(ErrorOf(Generations({{"prompt", ""}, {"sampler", "dpm"}})),
              HasSubstr("sampler: must be one of ddpm, ddim"));
  EXPECT_THAT(ErrorOf(Generations({{"class_label", "dragons"}}, ClassModel())),
              HasSubstr("class_label: must be one of smileys, people; is \"dragons\""));
  EXPECT_THAT(ErrorOf(Generations({{"prompt", ""}, {"class_label", "x"}})),
              HasSubstr("class_label: must be absent"));
  EXPECT_THAT(ErrorOf(Generations({{"prompt", ""}, {"partial_images", 1}})),
              HasSubstr("partial_images: requires stream"));
  EXPECT_THAT(ErrorOf(Generations(
                  {{"prompt", ""}, {"output_format", "jpeg"}, {"output_compression", 100}})),
              HasSubstr("output_compression: must be 95 or absent; is 100"));
  for (const json& adapters :
       {json("ink"), json(1), json({{"ink", "x"}}), json::array({"ink"}),
        json::array({{{"scale", 1}}}), json::array({{{"name", "ink"}, {"weight", 1}}})}) {
    EXPECT_THAT(WrongFields(Generations({{"prompt", ""}, {"adapters", adapters}})),
                ElementsAre("adapters"))
        << adapters;
  }
  for (const char* size : {"", "x", "32", "32x", "x32", "32X32", "32x32x32", "-1x32", "1e2x3",
                           "99999999999x1", " 32x32"}) {
    EXPECT_THAT(WrongFields(Generations({{"prompt", ""}, {"size", size}})), ElementsAre("size"))
        << size;
  }
}

}  // namespace
}  // namespace denoise::openai
