#include "client/cli/flags/generate_request.h"

#include <string_view>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "proto/conversion/sampler_proto.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

std::string ModelNames(const std::vector<v1::Model>& models) {
  return absl::StrJoin(models, ", ", [](std::string* out, const v1::Model& model) {
    absl::StrAppend(out, ShortModelName(model.name()));
  });
}

std::string ClassNames(const v1::Model& model) {
  return absl::StrJoin(model.classes(), ", ", [](std::string* out, const v1::ModelClass& entry) {
    absl::StrAppend(out, entry.display_name(), entry.display_name().empty() ? "" : " ", "(",
                    entry.label(), ")");
  });
}

absl::StatusOr<v1::Model> OnlyModel(Client& client) {
  ASSIGN_OR_RETURN(std::vector<v1::Model> models, client.ListModels());
  if (models.empty()) return absl::NotFoundError("the server serves no model");
  if (models.size() == 1) return models.front();
  return InvalidField("--model",
                      absl::StrCat("is needed, for there are several: ", ModelNames(models)));
}

// `text` is an index, or a class's name in any case. InvalidArgument names `field` and lists the
// classes.
absl::StatusOr<int32_t> ResolveClass(std::string_view field, const std::string& text,
                                     const v1::Model& model) {
  if (int32_t label = 0; absl::SimpleAtoi(text, &label)) return label;
  for (const v1::ModelClass& entry : model.classes()) {
    if (!text.empty() && absl::EqualsIgnoreCase(entry.display_name(), text)) return entry.label();
  }
  if (model.classes().empty()) {
    return InvalidField(field, absl::StrCat(ShortModelName(model.name()), " has no classes"));
  }
  return InvalidField(field,
                      absl::StrCat("no class is named ", text, "; there are: ", ClassNames(model)));
}

// "CLASS=WEIGHT".
absl::StatusOr<v1::ClassWeight> ParseClassWeight(const std::string& text, const v1::Model& model) {
  const size_t equals = text.rfind('=');
  double weight = 0;
  if (equals == std::string::npos || !absl::SimpleAtod(text.substr(equals + 1), &weight)) {
    return InvalidField("class_weights", absl::StrCat("must be CLASS=WEIGHT,..., has ", text));
  }
  v1::ClassWeight entry;
  ASSIGN_OR_RETURN(const int32_t label,
                   ResolveClass("class_weights", text.substr(0, equals), model));
  entry.set_class_label(label);
  entry.set_weight(weight);
  return entry;
}

absl::Status AddClasses(const GenerateFlags& flags, const v1::Model& model,
                        v1::GenerateRequest& request) {
  if (flags.class_label.has_value()) {
    ASSIGN_OR_RETURN(const int32_t label, ResolveClass("class_label", *flags.class_label, model));
    request.set_class_label(label);
  } else if (flags.class_weights.has_value()) {
    const std::vector<std::string> entries = absl::StrSplit(*flags.class_weights, ',');
    for (const std::string& text : entries) {
      ASSIGN_OR_RETURN(*request.add_class_weights(), ParseClassWeight(text, model));
    }
  } else if (!model.classes().empty()) {
    return InvalidField("class_label", absl::StrCat("is needed; there are: ", ClassNames(model)));
  }
  return absl::OkStatus();
}

v1::Guidance BuildGuidance(const GenerateFlags& flags) {
  v1::Guidance guidance;
  guidance.set_scale(*flags.guidance_scale);
  if (flags.guidance_min.has_value()) guidance.set_timestep_min(*flags.guidance_min);
  if (flags.guidance_max.has_value()) guidance.set_timestep_max(*flags.guidance_max);
  if (flags.guidance_sigma_min.has_value()) guidance.set_sigma_min(*flags.guidance_sigma_min);
  if (flags.guidance_sigma_max.has_value()) guidance.set_sigma_max(*flags.guidance_sigma_max);
  guidance.set_rescale(flags.guidance_rescale);
  return guidance;
}

v1::FramePolicy BuildFramePolicy(const GenerateFlags& flags) {
  v1::FramePolicy frames;
  frames.set_every_n_steps(flags.frames);
  for (const std::string& kind : flags.frame_kinds) {
    frames.add_kinds(kind == "x_t" ? v1::FRAME_KIND_X_T : v1::FRAME_KIND_X0);
  }
  frames.set_encoding(EncodingOf(flags.frame_encoding));
  frames.set_max_bytes(flags.frame_max_bytes);
  return frames;
}

}  // namespace

v1::Encoding EncodingOf(const std::string& format) {
  if (format == "jpeg") return v1::ENCODING_JPEG;
  if (format == "webp") return v1::ENCODING_WEBP;
  if (format == "npy") return v1::ENCODING_RAW_FLOAT32;
  return v1::ENCODING_PNG;
}

absl::StatusOr<v1::Model> ResolveModel(Client& client, const std::string& name) {
  if (name.empty()) return OnlyModel(client);
  absl::StatusOr<v1::Model> model = client.GetModel(name);
  if (!absl::IsNotFound(model.status())) return model;
  const auto models = client.ListModels();
  if (!models.ok()) return model;
  return absl::NotFoundError(absl::StrCat("there is no model ", ShortModelName(name), "; served: ",
                                          models->empty() ? "none" : ModelNames(*models)));
}

absl::StatusOr<v1::GenerateRequest> BuildGenerateRequest(const GenerateFlags& flags,
                                                         const v1::Model& model) {
  v1::GenerateRequest request;
  request.set_model(model.name());
  RETURN_IF_ERROR(AddClasses(flags, model, request));
  if (flags.count.has_value()) request.set_count(*flags.count);
  if (flags.seed.has_value()) request.set_seed(*flags.seed);
  *request.mutable_sampler() = SamplerToProto(flags.sampler);
  if (flags.guidance_scale.has_value()) *request.mutable_guidance() = BuildGuidance(flags);
  if (flags.frames != 0) *request.mutable_frames() = BuildFramePolicy(flags);
  request.set_image_encoding(EncodingOf(flags.format));
  RETURN_IF_ERROR(FillStart(flags.start, request));
  return request;
}

}  // namespace denoise
