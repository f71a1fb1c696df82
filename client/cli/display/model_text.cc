#include "client/cli/display/model_text.h"

#include <google/protobuf/util/json_util.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/display/text.h"
#include "client/cli/flags/sampler_flags.h"
#include "client/client.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

std::string Shape(const v1::Model& model) {
  return absl::StrCat(model.width(), "x", model.height(), "x", model.channels());
}

std::string Parameters(int64_t count) {
  if (count >= 1'000'000'000) return absl::StrFormat("%.1f G", count * 1e-9);
  if (count >= 1'000'000) return absl::StrFormat("%.1f M", count * 1e-6);
  if (count >= 1'000) return absl::StrFormat("%.1f k", count * 1e-3);
  return absl::StrCat(count);
}

std::string ClassLines(const v1::Model& model) {
  std::string lines;
  for (const v1::ModelClass& entry : model.classes()) {
    absl::StrAppendFormat(&lines, "\n  %4d  %s", entry.label(), Printable(entry.display_name()));
  }
  return lines;
}

}  // namespace

std::string ModelTable(const std::vector<v1::Model>& models) {
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "SHAPE", "CLASSES", "PARAMETERS", "DEFAULT SAMPLER"}};
  for (const v1::Model& model : models) {
    rows.push_back({Printable(ShortModelName(model.name())), Shape(model),
                    model.classes().empty() ? "-" : absl::StrCat(model.classes_size()),
                    Parameters(model.parameter_count()), SamplerFlagName(model.default_sampler())});
  }
  return FormatTable(rows);
}

std::string ModelDetails(const v1::Model& model) {
  return absl::StrCat(Printable(ShortModelName(model.name())),                                    //
                      "\n  version         ", Printable(model.version()),                         //
                      "\n  makes           ", model.width(), " x ", model.height(), " pixels, ",  //
                      model.channels(), model.channels() == 1 ? " channel" : " channels",         //
                      "\n  parameters      ", Parameters(model.parameter_count()),                //
                      "\n  predicts        ", Printable(model.prediction_type()),                 //
                      "\n  trained on      ", model.num_train_timesteps(), " timesteps",          //
                      "\n  default sampler ", SamplerFlagName(model.default_sampler()),           //
                      "\n  guidance        ", model.supports_guidance() ? "yes" : "no",           //
                      "\n  source          ", Printable(model.source()),                          //
                      "\n  classes         ",
                      model.classes().empty() ? "none" : absl::StrCat(model.classes_size()),
                      ClassLines(model));
}

std::string ModelJson(const v1::Model& model) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string json;
  (void)google::protobuf::util::MessageToJsonString(model, &json, options);
  return json;
}

}  // namespace denoise
