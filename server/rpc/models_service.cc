#include "server/rpc/models_service.h"

#include <string>
#include <utility>
#include <vector>

#include "core/base/error_details.h"
#include "core/base/field_violations.h"
#include "core/base/paging.h"
#include "core/base/resource_id.h"
#include "core/base/status_macros.h"
#include "core/sampling/options/option_names.h"
#include "core/sampling/options/sampler_overrides.h"
#include "proto/conversion/sampler_proto.h"
#include "server/rpc/unary_answer.h"

namespace denoise {
namespace {

// A page continues after the last model of the page before; models are listed in order of id.
absl::StatusOr<std::string> ParseModelToken(const std::string& token) {
  ASSIGN_OR_RETURN(std::string id, ParsePageToken(token));
  if (!id.empty() && !IsValidResourceId(id)) return BadPageToken();
  return id;
}

// Every label but the one that stands for no class.
void AddClasses(const Model& model, denoised::v1::Model& proto) {
  for (int64_t label = 0; label < model.spec.num_class_embeds; ++label) {
    if (label == model.null_class_label) continue;
    auto& entry = *proto.add_classes();
    entry.set_label(static_cast<int32_t>(label));
    if (const auto name = model.id2label.find(label); name != model.id2label.end()) {
      entry.set_display_name(name->second);
    }
  }
}

}  // namespace

denoised::v1::Model ModelToProto(const Model& model) {
  denoised::v1::Model proto;
  proto.set_name(ModelName(model.id));
  proto.set_version(model.version);
  proto.set_channels(static_cast<int32_t>(model.spec.in_channels));
  proto.set_height(static_cast<int32_t>(model.spec.height));
  proto.set_width(static_cast<int32_t>(model.spec.width));
  AddClasses(model, proto);
  proto.set_supports_guidance(model.null_class_label.has_value());
  proto.set_parameter_count(model.spec.num_parameters);
  *proto.mutable_default_sampler() = SamplerToProto(EffectiveOverrides(model.default_sampler));
  proto.set_num_train_timesteps(model.schedule.num_train_timesteps());
  proto.set_prediction_type(std::string(NameOf(model.default_sampler.prediction_type)));
  proto.set_source(model.source);
  return proto;
}

absl::StatusOr<denoised::v1::ListModelsResponse> ListModels(
    const ModelRepository& models, const denoised::v1::ListModelsRequest& request) {
  const absl::StatusOr<int> page_size = PageSize(request.page_size());
  const absl::StatusOr<std::string> after = ParseModelToken(request.page_token());
  FieldViolations violations;
  violations.AddAll("", page_size.status());
  violations.AddAll("", after.status());
  RETURN_IF_ERROR(violations.ToStatus());

  // One more than the page holds tells whether another follows.
  std::vector<ModelHandle> page = models.ListAfter(*after, *page_size + 1);
  const bool more = page.size() > static_cast<size_t>(*page_size);
  if (more) page.pop_back();
  denoised::v1::ListModelsResponse response;
  for (const ModelHandle& model : page) *response.add_models() = ModelToProto(*model);
  if (more) response.set_next_page_token(PageTokenAfter(page.back()->id));
  return response;
}

absl::StatusOr<denoised::v1::Model> GetModel(const ModelRepository& models,
                                             const denoised::v1::GetModelRequest& request) {
  const auto id = ParseModelName(request.name());
  if (!id) return InvalidField("name", "must be \"models/\" and a model's name");
  const ModelHandle model = models.Find(*id);
  if (!model) return ResourceNotFound("model", request.name());
  return ModelToProto(*model);
}

grpc::ServerUnaryReactor* ModelsService::ListModels(grpc::CallbackServerContext* context,
                                                    const denoised::v1::ListModelsRequest* request,
                                                    denoised::v1::ListModelsResponse* response) {
  return Answer(context, denoise::ListModels(*models_, *request), response);
}

grpc::ServerUnaryReactor* ModelsService::GetModel(grpc::CallbackServerContext* context,
                                                  const denoised::v1::GetModelRequest* request,
                                                  denoised::v1::Model* response) {
  return Answer(context, denoise::GetModel(*models_, *request), response);
}

}  // namespace denoise
