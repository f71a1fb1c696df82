#include "client/cli/generate_request.h"

#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
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

v1::Encoding EncodingOf(const std::string& format) {
  if (format == "jpeg") return v1::ENCODING_JPEG;
  if (format == "webp") return v1::ENCODING_WEBP;
  if (format == "npy") return v1::ENCODING_RAW_FLOAT32;
  return v1::ENCODING_PNG;
}

v1::Guidance BuildGuidance(const GenerateFlags& flags) {
  v1::Guidance guidance;
  guidance.set_scale(*flags.guidance_scale);
  if (flags.guidance_min.has_value()) guidance.set_timestep_min(*flags.guidance_min);
  if (flags.guidance_max.has_value()) guidance.set_timestep_max(*flags.guidance_max);
  return guidance;
}

v1::FramePolicy BuildFramePolicy(const GenerateFlags& flags) {
  v1::FramePolicy frames;
  frames.set_every_n_steps(flags.frames);
  frames.set_kind(flags.frame_kind == "x_t" ? v1::FRAME_KIND_X_T : v1::FRAME_KIND_X0);
  frames.set_encoding(EncodingOf(flags.frame_encoding));
  frames.set_max_bytes(flags.frame_max_bytes);
  return frames;
}

}  // namespace

absl::StatusOr<v1::Model> ResolveModel(Client& client, const std::string& name) {
  if (name.empty()) return OnlyModel(client);
  absl::StatusOr<v1::Model> model = client.GetModel(name);
  if (!absl::IsNotFound(model.status())) return model;
  const auto models = client.ListModels();
  if (!models.ok()) return model;
  return absl::NotFoundError(absl::StrCat("there is no model ", ShortModelName(name), "; served: ",
                                          models->empty() ? "none" : ModelNames(*models)));
}

absl::StatusOr<int32_t> ResolveClass(const std::string& text, const v1::Model& model) {
  if (int32_t label = 0; absl::SimpleAtoi(text, &label)) return label;
  for (const v1::ModelClass& entry : model.classes()) {
    if (!text.empty() && absl::EqualsIgnoreCase(entry.display_name(), text)) return entry.label();
  }
  if (model.classes().empty()) {
    return InvalidField("class_label",
                        absl::StrCat(ShortModelName(model.name()), " has no classes"));
  }
  return InvalidField("class_label",
                      absl::StrCat("no class is named ", text, "; there are: ", ClassNames(model)));
}

absl::StatusOr<v1::GenerateRequest> BuildGenerateRequest(const GenerateFlags& flags,
                                                         const v1::Model& model) {
  v1::GenerateRequest request;
  request.set_model(model.name());
  if (flags.class_label.has_value()) {
    ASSIGN_OR_RETURN(const int32_t label, ResolveClass(*flags.class_label, model));
    request.set_class_label(label);
  } else if (!model.classes().empty()) {
    return InvalidField("class_label", absl::StrCat("is needed; there are: ", ClassNames(model)));
  }
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
