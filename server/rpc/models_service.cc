#include "server/rpc/models_service.h"

#include <string>
#include <utility>
#include <vector>

#include "core/base/error_details.h"
#include "core/base/field_violations.h"
#include "core/base/paging.h"
#include "core/base/resource_id.h"
#include "core/base/status_macros.h"
#include "server/rpc/model_conversion.h"
#include "server/rpc/unary_answer.h"

namespace denoise {
namespace {

// A page continues after the last model of the page before; models are listed in order of id.
absl::StatusOr<std::string> ParseModelToken(const std::string& token) {
  ASSIGN_OR_RETURN(std::string id, ParsePageToken(token));
  if (!id.empty() && !IsValidResourceId(id)) return BadPageToken();
  return id;
}

}  // namespace

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
