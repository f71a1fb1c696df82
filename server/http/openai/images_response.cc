#include "server/http/openai/images_response.h"

#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "server/http/openai/server_sent_event.h"

namespace denoise::openai {
namespace {

namespace v1 = denoised::v1;
using Json = nlohmann::ordered_json;

const char* FormatName(v1::Encoding encoding) {
  switch (encoding) {
    case v1::ENCODING_JPEG:
      return "jpeg";
    case v1::ENCODING_WEBP:
      return "webp";
    default:
      return "png";
  }
}

// What every answer says of its images.
Json Description(const v1::Image& image) {
  const bool has_alpha = image.channels() % 2 == 0;
  return {{"background", has_alpha ? "transparent" : "opaque"},
          {"output_format", FormatName(image.encoding())},
          {"size", absl::StrCat(image.width(), "x", image.height())}};
}

// Of models that read prompts. A diffusion model puts out no tokens.
Json Usage(const v1::Accepted& accepted) {
  const int tokens = accepted.prompt().tokens() + accepted.negative_prompt().tokens();
  return {{"input_tokens", tokens},
          {"input_tokens_details", {{"text_tokens", tokens}, {"image_tokens", 0}}},
          {"output_tokens", 0},
          {"total_tokens", tokens}};
}

void AddUsage(const v1::Accepted& accepted, Json& answer) {
  if (!accepted.has_prompt()) return;
  answer["usage"] = Usage(accepted);
  if (accepted.prompt().truncated() || accepted.negative_prompt().truncated()) {
    answer["prompt_truncated"] = true;
  }
}

// "image_generation.completed"
std::string EventName(Endpoint endpoint, const char* what) {
  return absl::StrCat(endpoint == Endpoint::kEdits ? "image_edit." : "image_generation.", what);
}

Json EventOf(const std::string& type, const v1::GenerateEvent& event, const v1::Image& image) {
  Json json = {{"type", type},
               {"b64_json", absl::Base64Escape(image.data())},
               {"created_at", event.time().seconds()},
               {"quality", "auto"}};
  json.update(Description(image));
  return json;
}

}  // namespace

std::string BeginImages(const v1::Accepted& accepted, const v1::Image& image, int64_t created) {
  Json answer = {{"created", created}};
  answer.update(Description(image));
  AddUsage(accepted, answer);
  answer["data"] = Json::array();
  std::string text = answer.dump();
  text.resize(text.size() - std::string_view(kEndOfImages).size());
  return text;
}

std::string ImageObject(const v1::GeneratedImage& image) {
  return Json({{"b64_json", absl::Base64Escape(image.image().data())}, {"seed", image.seed()}})
      .dump();
}

std::string PartialImageEvent(Endpoint endpoint, const v1::GenerateEvent& event, int index) {
  const std::string type = EventName(endpoint, "partial_image");
  Json json = EventOf(type, event, event.frame().image());
  json["partial_image_index"] = index;
  json["image_index"] = event.frame().image_index();
  json["step"] = event.frame().step();
  return ServerSentEvent(type, json.dump());
}

std::string CompletedEvent(Endpoint endpoint, const v1::GenerateEvent& event,
                           const v1::Accepted* usage_of) {
  const std::string type = EventName(endpoint, "completed");
  Json json = EventOf(type, event, event.image().image());
  json["image_index"] = event.image().image_index();
  json["seed"] = event.image().seed();
  if (usage_of != nullptr) AddUsage(*usage_of, json);
  return ServerSentEvent(type, json.dump());
}

}  // namespace denoise::openai
