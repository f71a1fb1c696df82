#include "core/base/field_violations.h"
#include "server/http/openai/images_request.h"
#include "tests/fuzz/fuzz_target.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using openai::Endpoint;

constexpr int64_t kPixelsMax = 1 << 16;

v1::Model ModelThatTakes(bool prompts) {
  v1::Model model;
  model.set_name("models/a");
  model.set_takes_prompts(prompts);
  if (!prompts) model.add_classes()->set_display_name("people");
  model.mutable_default_sampler()->set_steps(20);
  return model;
}

void Check(Endpoint endpoint, const openai::RequestBody& body, const v1::Model& model) {
  const auto request = openai::TranslateRequest(endpoint, body, model, kPixelsMax);
  if (!request.ok()) {
    Require(!GetFieldViolations(request.status()).empty(), "a refusal names its fields");
    return;
  }
  const v1::GenerateRequest& generate = request->generate;
  Require(generate.model() == model.name(), "the model is the one that was found");
  Require(request->partial_images >= 0 && request->partial_images <= 3, "partial images are few");
  Require(generate.has_frames() == (request->partial_images > 0),
          "only partial images ask for frames");
  Require(!generate.has_frames() || generate.frames().every_n_steps() >= 1,
          "frames have a distance");
  Require(!(generate.has_start() && generate.has_inpainting()), "an edit is of one kind");
  Require((endpoint == Endpoint::kEdits) == (generate.has_start() || generate.has_inpainting()),
          "an edit has a picture");
}

}  // namespace

// JSON where it begins like that, else a form with the boundary "XX".
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = AsText(data, size);
  const bool is_json = text.starts_with('{');
  const auto body = is_json ? openai::ReadJsonBody(text)
                            : openai::ReadFormBody("multipart/form-data; boundary=XX", text);
  if (!body.ok()) {
    Require(absl::IsInvalidArgument(body.status()), "a bad body is INVALID_ARGUMENT");
    return 0;
  }
  const auto name = openai::RequestedModel(*body);
  Require(!name.ok() || name->empty() || name->starts_with("models/"), "a name has its collection");
  for (const bool prompts : {false, true}) {
    Check(is_json ? Endpoint::kGenerations : Endpoint::kEdits, *body, ModelThatTakes(prompts));
  }
  return 0;
}

}  // namespace denoise
