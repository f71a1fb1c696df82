#include "server/rpc/models_service.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "server/rpc/model_conversion.h"
#include "server/rpc/status_mapping.h"
#include "server/rpc/unary_answer.h"

namespace denoise {
namespace {

constexpr int kDefaultPageSize = 100;
constexpr int kMaxPageSize = 1000;

// A page continues after the last model of the page before; models are listed in order of id.
constexpr char kTokenPrefix[] = "after:";

std::string PageToken(const std::string& last_id) {
  return absl::WebSafeBase64Escape(absl::StrCat(kTokenPrefix, last_id));
}

absl::StatusOr<std::string> ParsePageToken(const std::string& token) {
  if (token.empty()) return std::string();
  std::string text;
  if (absl::WebSafeBase64Unescape(token, &text) && text.starts_with(kTokenPrefix)) {
    std::string id = text.substr(sizeof(kTokenPrefix) - 1);
    if (IsValidModelId(id)) return id;
  }
  return InvalidField("page_token", "is not one that ListModels returned");
}

// AIP-158: 0 is the server's choice, and more than the most is the most.
absl::StatusOr<int> PageSize(int page_size) {
  if (page_size < 0) {
    return InvalidField("page_size", absl::StrCat("must be at least 0, is ", page_size));
  }
  return page_size == 0 ? kDefaultPageSize : std::min(page_size, kMaxPageSize);
}

}  // namespace

absl::StatusOr<denoised::v1::ListModelsResponse> ListModels(
    const ModelRepository& models, const denoised::v1::ListModelsRequest& request) {
  const absl::StatusOr<int> page_size = PageSize(request.page_size());
  const absl::StatusOr<std::string> after = ParsePageToken(request.page_token());
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
  if (more) response.set_next_page_token(PageToken(page.back()->id));
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
