#include "server/http/openai/model_objects.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace denoise::openai {
namespace {

using Json = nlohmann::ordered_json;

Json ObjectOf(const denoised::v1::Model& model) {
  Json classes = Json::array();
  for (const auto& entry : model.classes()) classes.push_back(entry.display_name());
  return {{"id", ModelId(model)},
          {"object", "model"},
          {"created", 0},  // the API requires it, and the server does not know it
          {"owned_by", "denoised"},
          {"size", absl::StrCat(model.width(), "x", model.height())},
          {"size_multiple", model.size_multiple()},
          {"takes_prompts", model.takes_prompts()},
          {"takes_adapters", model.takes_adapters()},
          {"classes", std::move(classes)}};
}

}  // namespace

std::string ModelId(const denoised::v1::Model& model) {
  return std::string(absl::StripPrefix(model.name(), "models/"));
}

std::string ModelNameOf(std::string_view id) {
  return id.starts_with("models/") ? std::string(id) : absl::StrCat("models/", std::string(id));
}

std::string ModelJson(const denoised::v1::Model& model) { return ObjectOf(model).dump(); }

std::string ModelListJson(const denoised::v1::ListModelsResponse& models) {
  Json data = Json::array();
  for (const auto& model : models.models()) data.push_back(ObjectOf(model));
  return Json({{"object", "list"}, {"data", std::move(data)}}).dump();
}

}  // namespace denoise::openai
