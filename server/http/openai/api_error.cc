#include "server/http/openai/api_error.h"

#include <grpcpp/support/status_code_enum.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/retry.h"
#include "google/rpc/error_details.pb.h"

namespace denoise::openai {
namespace {

using Json = nlohmann::ordered_json;

// What a field of the RPC, or of a message in it, is called here.
constexpr std::pair<std::string_view, std::string_view> kParams[] = {
    {"adapters", "adapters"},
    {"count", "n"},
    {"frames", "partial_images"},
    {"guidance", "guidance_scale"},
    {"height", "size"},
    {"image_encoding", "output_format"},
    {"inpainting.picture", "image"},
    {"inpainting", "mask"},
    {"name", "model"},
    {"sampler.sampler", "sampler"},
    {"sampler.steps", "steps"},
    {"start.image.strength", "strength"},
    {"start", "image"},
    {"width", "size"},
};

bool IsWithin(std::string_view field, std::string_view message) {
  return field.starts_with(message) &&
         (field.size() == message.size() || field[message.size()] == '.' ||
          field[message.size()] == '[');
}

std::string ParamOf(const std::string& field) {
  for (const auto& [name, param] : kParams) {
    if (IsWithin(field, name)) return std::string(param);
  }
  return field;
}

template <class Detail>
Detail DetailOf(const google::rpc::Status& status) {
  Detail detail;
  for (const google::protobuf::Any& any : status.details()) {
    if (any.UnpackTo(&detail)) return detail;
  }
  return Detail();
}

int HttpStatus(const google::rpc::Status& status, std::string_view reason) {
  switch (static_cast<grpc::StatusCode>(status.code())) {
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::FAILED_PRECONDITION:
    case grpc::StatusCode::OUT_OF_RANGE:
      return 400;
    case grpc::StatusCode::UNAUTHENTICATED:
      return 401;
    case grpc::StatusCode::PERMISSION_DENIED:
      return 403;
    case grpc::StatusCode::NOT_FOUND:
      return 404;
    case grpc::StatusCode::CANCELLED:
      return 499;
    case grpc::StatusCode::UNAVAILABLE:
      return reason == kQueueFullReason ? 429 : 503;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:  // else of the device's memory
      return reason == kTooLargeReason ? 413 : 503;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return 504;
    default:
      return 500;
  }
}

std::string_view TypeOf(int http_status) {
  if (http_status == 401) return "authentication_error";
  if (http_status == 429) return "rate_limit_error";
  return http_status < 500 ? "invalid_request_error" : "server_error";
}

// "n: must be ...; size: must be ..."
std::string Explain(const google::rpc::BadRequest& details, std::string& param) {
  std::vector<std::string> parts;
  for (const auto& violation : details.field_violations()) {
    const std::string name = ParamOf(violation.field());
    std::string part =
        name.empty() ? violation.description() : absl::StrCat(name, ": ", violation.description());
    if (std::find(parts.begin(), parts.end(), part) != parts.end()) continue;
    if (parts.empty()) param = name;
    parts.push_back(std::move(part));
  }
  std::string message;
  for (const std::string& part : parts) {
    absl::StrAppend(&message, message.empty() ? "" : "; ", part);
  }
  return message;
}

Json NullIfEmpty(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

}  // namespace

std::string ReasonOf(const google::rpc::Status& status) {
  return DetailOf<google::rpc::ErrorInfo>(status).reason();
}

ApiError ApiErrorOf(const google::rpc::Status& status) {
  ApiError error{
      .http_status = HttpStatus(status, ReasonOf(status)), .message = {}, .param = {}, .code = {}};
  error.message = Explain(DetailOf<google::rpc::BadRequest>(status), error.param);
  if (error.message.empty()) error.message = status.message();
  if (error.http_status == 429) error.code = "rate_limit_exceeded";
  if (status.code() == grpc::StatusCode::CANCELLED) error.code = "cancelled";
  if (DetailOf<google::rpc::ResourceInfo>(status).resource_type() == "model") {
    error.param = "model";
    error.code = "model_not_found";
  }
  return error;
}

std::string ErrorJson(const ApiError& error) {
  const Json body = {{"error",
                      {{"message", error.message},
                       {"type", std::string(TypeOf(error.http_status))},
                       {"param", NullIfEmpty(error.param)},
                       {"code", NullIfEmpty(error.code)}}}};
  // Bytes that are not UTF-8 would make it throw.
  return body.dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

}  // namespace denoise::openai
