#include "server/http/openai/images_request.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "core/image/image.h"
#include "core/json/config_reader.h"
#include "core/sampling/options/option_names.h"
#include "proto/conversion/sampler_proto.h"
#include "server/http/openai/model_objects.h"

namespace denoise::openai {
namespace {

namespace v1 = denoised::v1;
using nlohmann::json;

constexpr int kMaxPartialImages = 3;
constexpr double kDefaultStrength = 0.8;  // that of `denoise generate`

constexpr std::pair<std::string_view, v1::Encoding> kFormats[] = {
    {"png", v1::ENCODING_PNG}, {"jpeg", v1::ENCODING_JPEG}, {"webp", v1::ENCODING_WEBP}};

// A field of the API that asks for what this server has not got. Only values that leave it the
// choice are taken.
struct ForeignField {
  const char* name;
  std::vector<std::string_view> allowed;
  const char* why;
};

const std::vector<ForeignField>& ForeignFields() {
  static const auto* const fields = new std::vector<ForeignField>{
      {"background", {"auto", "opaque"}, "images are opaque"},
      {"complexity", {}, "there is no such choice; more `steps` take more time"},
      {"frame_count", {}, "there are no animations"},
      {"frame_duration_ms", {}, "there are no animations"},
      {"input_fidelity", {}, "`strength` says how much of the image changes"},
      {"markup", {}, "describe the edit in the prompt, or send a mask"},
      {"moderation", {"auto"}, "the server moderates nothing"},
      {"quality", {"auto"}, "there is no such choice; more `steps` take more time"},
      {"style", {}, "describe the style in the prompt"},
      {"svg", {}, "images have pixels"}};
  return *fields;
}

// "512x768"
std::optional<std::pair<int, int>> ParseSize(std::string_view text) {
  const size_t middle = std::min(text.find('x'), text.size());
  const std::string_view width = text.substr(0, middle);
  const std::string_view height = text.substr(std::min(middle + 1, text.size()));
  const auto is_number = [](std::string_view digits) {
    return !digits.empty() && std::all_of(digits.begin(), digits.end(), [](char c) {
      return absl::ascii_isdigit(static_cast<unsigned char>(c));
    });
  };
  std::pair<int, int> size;
  if (!is_number(width) || !is_number(height) ||
      !absl::SimpleAtoi(absl::string_view(width.data(), width.size()), &size.first) ||
      !absl::SimpleAtoi(absl::string_view(height.data(), height.size()), &size.second)) {
    return std::nullopt;
  }
  return size;
}

std::string AdapterName(const std::string& name) {
  return name.find('/') == std::string::npos ? absl::StrCat("adapters/", name) : name;
}

// Whether a part of the picture is transparent. A picture that cannot be read has none: the RPC
// says what is wrong with it.
bool HasTransparency(std::string_view picture, int64_t pixels_max) {
  if (RecogniseFormat(picture) == ImageFormat::kJpeg) return false;  // it has no alpha
  const absl::StatusOr<Image> image = DecodeImage(picture, pixels_max);
  if (!image.ok() || image->channels % 2 == 1) return false;
  for (size_t i = image->channels - 1; i < image->pixels.size(); i += image->channels) {
    if (image->pixels[i] < 255) return true;
  }
  return false;
}

// How many steps a run takes where the request does not say.
int DefaultSteps(const v1::SamplerOptions& defaults) {
  return std::max({defaults.steps(), defaults.timesteps_size(), defaults.sigmas_size()});
}

class Translator {
 public:
  Translator(Endpoint endpoint, const RequestBody& body, const v1::Model& model)
      : endpoint_(endpoint),
        body_(body),
        model_(model),
        fields_(body.fields, ConfigReader::Null::kAbsent) {}

  absl::StatusOr<ImagesRequest> Translate(int64_t picture_pixels_max) && {
    generate().set_model(model_.name());
    ReadPrompts();
    ReadClass();
    ReadNumbers();
    ReadSampler();
    ReadAdapters();
    ReadSize();
    ReadFormat();
    if (endpoint_ == Endpoint::kEdits) ReadPictures(picture_pixels_max);
    ReadStream();
    ReadAccepted();
    RefuseForeign();
    RefuseUnknown();
    RETURN_IF_ERROR(fields_.status());
    return std::move(request_);
  }

 private:
  v1::GenerateRequest& generate() { return request_.generate; }

  void ReadPrompts() {
    std::string prompt, negative_prompt;
    fields_.Read("prompt", prompt);
    fields_.Read("negative_prompt", negative_prompt);
    if (fields_.Has("negative_prompt")) generate().set_negative_prompt(negative_prompt);
    if (model_.takes_prompts()) {
      if (!fields_.Has("prompt")) fields_.Violate("prompt", "is missing; say what to make");
      generate().set_prompt(prompt);
    } else if (!prompt.empty()) {
      fields_.Violate(
          "prompt",
          absl::StrCat("must be empty: ", model_.name(), " takes no prompts",
                       model_.classes().empty() ? "" : "; choose what it makes with class_label"));
    }
  }

  // By name or by number, which a form writes as text.
  void ReadClass() {
    const json* label = fields_.Find("class_label");
    if (label == nullptr) return;
    int number = 0;
    if (!label->is_string()) {
      fields_.Read("class_label", number);
      return generate().set_class_label(number);
    }
    if (!IsClassName(label->get_ref<const std::string&>()) &&
        absl::SimpleAtoi(label->get_ref<const std::string&>(), &number)) {
      return generate().set_class_label(number);
    }
    if (model_.classes().empty()) {
      return fields_.Violate("class_label",
                             absl::StrCat("must be absent: ", model_.name(), " has no classes"));
    }
    std::vector<std::pair<std::string_view, int>> names;
    for (const v1::ModelClass& entry : model_.classes()) {
      names.emplace_back(entry.display_name(), entry.label());
    }
    fields_.ReadName<int>("class_label", names, number);
    generate().set_class_label(number);
  }

  bool IsClassName(const std::string& text) const {
    return std::any_of(model_.classes().begin(), model_.classes().end(),
                       [&](const v1::ModelClass& entry) { return entry.display_name() == text; });
  }

  void ReadNumbers() {
    int count = 0;
    fields_.Read("n", count);
    if (fields_.Has("n")) generate().set_count(count);
    ReadSeed();
    double scale = 0;
    fields_.Read("guidance_scale", scale);
    if (fields_.Has("guidance_scale")) generate().mutable_guidance()->set_scale(scale);
  }

  void ReadSeed() {
    const json* seed = fields_.Find("seed");
    if (seed == nullptr) return;
    if (seed->is_number_unsigned()) return generate().set_seed(seed->get<uint64_t>());
    fields_.Violate("seed", absl::StrCat("must be a whole number between 0 and ",
                                         std::numeric_limits<uint64_t>::max()));
  }

  void ReadSampler() {
    std::string name;
    fields_.Read("sampler", name);
    SamplerOverrides overrides;
    if (const auto sampler = ParseSampler(name)) {
      overrides.sampler = sampler->sampler;
      overrides.solver_order = sampler->solver_order;
    } else if (fields_.Has("sampler")) {
      fields_.Violate("sampler",
                      absl::StrCat("must be one of ", SamplerNameList(), "; is ", Quoted(name)));
    }
    int steps = 0;
    fields_.Read("steps", steps);
    if (fields_.Has("steps")) overrides.steps = steps;
    *generate().mutable_sampler() = SamplerToProto(overrides);
  }

  // [{"name": "ink", "scale": 0.8}] or {"ink": 0.8}
  void ReadAdapters() {
    const json* adapters = fields_.Find("adapters");
    if (adapters == nullptr) return;
    bool is_right = adapters->is_array() || adapters->is_object();
    for (const auto& [key, value] : adapters->items()) {
      if (adapters->is_array()) {
        is_right = is_right && AddAdapter(value);
      } else {
        is_right = is_right && AddAdapter(key, value);
      }
    }
    if (is_right) return;
    fields_.Violate("adapters", R"(must be an object such as {"ink": 0.8}, or a list such as )"
                                R"([{"name": "ink", "scale": 0.8}])");
  }

  bool AddAdapter(const json& adapter) {
    const auto has = [&](const char* key) { return adapter.is_object() && adapter.contains(key); };
    if (!has("name") || !adapter["name"].is_string()) return false;
    if (adapter.size() > (has("scale") ? 2u : 1u)) return false;
    return AddAdapter(adapter["name"].get<std::string>(),
                      has("scale") ? adapter["scale"] : json(nullptr));
  }

  bool AddAdapter(const std::string& name, const json& scale) {
    v1::AppliedAdapter& adapter = *generate().add_adapters();
    adapter.set_name(AdapterName(name));
    if (scale.is_number()) adapter.set_scale(scale.get<double>());
    return scale.is_number() || scale.is_null();
  }

  void ReadSize() {
    std::string text = "auto";
    fields_.Read("size", text);
    if (text == "auto") return;
    const auto size = ParseSize(text);
    if (!size) {
      return fields_.Violate(
          "size", absl::StrCat(R"(must be "auto" or a width and a height, such as "512x768"; is )",
                               Quoted(text)));
    }
    if (model_.size_multiple() == 0 && *size != std::pair(model_.width(), model_.height())) {
      return fields_.Violate(
          "size", absl::StrCat(R"(must be "auto" or ")", model_.width(), "x", model_.height(),
                               R"(", the only size of this model; is )", Quoted(text)));
    }
    generate().set_width(size->first);
    generate().set_height(size->second);
  }

  void ReadFormat() {
    v1::Encoding encoding = v1::ENCODING_PNG;
    fields_.ReadName<v1::Encoding>("output_format", kFormats, encoding);
    generate().set_image_encoding(encoding);
    std::string response_format = "b64_json";
    fields_.Read("response_format", response_format);
    if (response_format != "b64_json") {
      fields_.Violate("response_format",
                      absl::StrCat("must be b64_json; is ", Quoted(response_format),
                                   ". The server keeps no files that a URL could name"));
    }
    const int quality = encoding == v1::ENCODING_JPEG ? kJpegQuality : 100;
    int compression = quality;
    fields_.Read("output_compression", compression);
    if (compression == quality) return;
    fields_.Violate("output_compression",
                    absl::StrCat("must be ", quality, " or absent; is ", compression,
                                 ". JPEG has a fixed quality; PNG and WebP lose nothing"));
  }

  // A mask says which part to replace, or else the image's transparency does. If nothing is
  // transparent, the whole image changes by `strength`.
  void ReadPictures(int64_t pixels_max) {
    double strength = kDefaultStrength;
    fields_.Read("strength", strength);
    if (body_.image.empty()) {
      return fields_.Violate("image", "is missing; send the picture to edit");
    }
    const bool has_mask = !body_.mask.empty();
    if (!has_mask && !HasTransparency(body_.image, pixels_max)) {
      v1::ImageStart& start = *generate().mutable_start()->mutable_image();
      start.mutable_picture()->set_data(std::string(body_.image));
      start.set_strength(strength);
      return;
    }
    if (fields_.Has("strength")) {
      fields_.Violate("strength",
                      absl::StrCat("must be absent: ",
                                   has_mask ? "the mask says which part"
                                            : "the image's transparency says which part",
                                   " is replaced"));
    }
    v1::Inpainting& inpainting = *generate().mutable_inpainting();
    inpainting.mutable_picture()->set_data(std::string(body_.image));
    if (has_mask) inpainting.mutable_mask()->set_data(std::string(body_.mask));
    inpainting.set_mask_channel(v1::MASK_CHANNEL_TRANSPARENCY);
  }

  void ReadStream() {
    fields_.Read("stream", request_.stream);
    int64_t partial_images = 0;
    fields_.Read("partial_images", partial_images, {0, kMaxPartialImages});
    if (partial_images == 0) return;
    if (!request_.stream) fields_.Violate("partial_images", "requires stream: true");
    request_.partial_images = static_cast<int>(partial_images);
    v1::FramePolicy& frames = *generate().mutable_frames();
    frames.set_every_n_steps(StepsBetweenPartialImages());
    frames.set_skip_last(true);
    frames.set_encoding(generate().image_encoding());
  }

  // The fewest with which no image has more partial ones than it may.
  int StepsBetweenPartialImages() {
    const v1::SamplerOptions& sampler = generate().sampler();
    int steps = sampler.has_steps() ? sampler.steps() : DefaultSteps(model_.default_sampler());
    if (generate().has_start()) {  // which takes the last steps
      const double share = std::clamp(generate().start().image().strength(), 0.0, 1.0);
      steps = static_cast<int>(steps * share);
    }
    const int parts = request_.partial_images + 1;
    return std::max(1, steps / parts + (steps % parts > 0 ? 1 : 0));
  }

  // What the server has no use for.
  void ReadAccepted() {
    std::string ignored;
    fields_.Read("user", ignored);
    fields_.Read("safety_identifier", ignored);
    fields_.Find("model");  // RequestedModel has read it
  }

  void RefuseForeign() {
    for (const ForeignField& field : ForeignFields()) {
      const json* value = fields_.Find(field.name);
      if (value == nullptr) continue;
      const bool is_allowed =
          std::any_of(field.allowed.begin(), field.allowed.end(),
                      [&](std::string_view allowed) { return *value == std::string(allowed); });
      if (is_allowed) continue;
      std::string rule = "must be ";
      for (const std::string_view allowed : field.allowed) {
        absl::StrAppend(&rule, std::string(allowed), " or ");
      }
      fields_.Violate(field.name, absl::StrCat(rule, "absent: ", field.why));
    }
  }

  void RefuseUnknown() {
    const char* const endpoint = endpoint_ == Endpoint::kEdits ? "edits" : "generations";
    std::vector<std::string> unknown = fields_.UnknownKeys();
    for (const auto& [key, value] : body_.fields.items()) {
      if (key.starts_with('_')) unknown.push_back(Escaped(key));  // no notes, as in configurations
    }
    for (const std::string& key : unknown) {
      fields_.Violate(key.empty() ? R"("")" : key,
                      absl::StrCat("is no field of /v1/images/", endpoint, "; leave it out"));
    }
  }

  const Endpoint endpoint_;
  const RequestBody& body_;
  const v1::Model& model_;
  ConfigReader fields_;
  ImagesRequest request_;
};

}  // namespace

absl::StatusOr<std::string> RequestedModel(const RequestBody& body) {
  ConfigReader fields(body.fields, ConfigReader::Null::kAbsent);
  std::string name;
  fields.Read("model", name);
  RETURN_IF_ERROR(fields.status());
  return name.empty() ? name : ModelNameOf(name);
}

absl::StatusOr<ImagesRequest> TranslateRequest(Endpoint endpoint, const RequestBody& body,
                                               const v1::Model& model, int64_t picture_pixels_max) {
  return Translator(endpoint, body, model).Translate(picture_pixels_max);
}

}  // namespace denoise::openai
