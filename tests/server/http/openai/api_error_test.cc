#include "server/http/openai/api_error.h"

#include <grpcpp/support/status_code_enum.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "google/rpc/error_details.pb.h"

namespace denoise::openai {
namespace {

using Json = nlohmann::json;

google::rpc::Status StatusOf(grpc::StatusCode code, const std::string& message) {
  google::rpc::Status status;
  status.set_code(code);
  status.set_message(message);
  return status;
}

google::rpc::Status Unavailable(const std::string& reason) {
  google::rpc::Status status = StatusOf(grpc::StatusCode::UNAVAILABLE, "later");
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  status.add_details()->PackFrom(info);
  return status;
}

TEST(ApiError, NamesFieldsAsTheApiDoes) {
  google::rpc::BadRequest details;
  for (const char* field : {"count", "width", "height", "sampler.steps", "start.image.picture.data",
                            "inpainting.mask.data", "adapters[0].name", "prompt"}) {
    auto& violation = *details.add_field_violations();
    violation.set_field(field);
    violation.set_description("is wrong");
  }
  google::rpc::Status status = StatusOf(grpc::StatusCode::INVALID_ARGUMENT, "count: is wrong ...");
  status.add_details()->PackFrom(details);
  const ApiError error = ApiErrorOf(status);
  EXPECT_EQ(error.http_status, 400);
  EXPECT_EQ(error.param, "n");
  EXPECT_EQ(error.message,
            "n: is wrong; size: is wrong; steps: is wrong; image: is wrong; mask: is wrong; "
            "adapters: is wrong; prompt: is wrong");
}

TEST(ApiError, SaysThatThereIsNoSuchModel) {
  google::rpc::ResourceInfo info;
  info.set_resource_type("model");
  google::rpc::Status status = StatusOf(grpc::StatusCode::NOT_FOUND, "no such model: models/x");
  status.add_details()->PackFrom(info);
  EXPECT_EQ(Json::parse(ErrorJson(ApiErrorOf(status))),
            Json({{"error",
                   {{"message", "no such model: models/x"},
                    {"type", "invalid_request_error"},
                    {"param", "model"},
                    {"code", "model_not_found"}}}}));
}

TEST(ApiError, HasTheStatusThatClientsKnow) {
  EXPECT_EQ(ApiErrorOf(Unavailable("QUEUE_FULL")).http_status, 429);
  EXPECT_EQ(ApiErrorOf(Unavailable("QUEUE_FULL")).code, "rate_limit_exceeded");
  EXPECT_EQ(ApiErrorOf(Unavailable("SERVER_BUSY")).http_status, 503);
  EXPECT_EQ(ApiErrorOf(StatusOf(grpc::StatusCode::INTERNAL, "x")).http_status, 500);
  EXPECT_EQ(ApiErrorOf(StatusOf(grpc::StatusCode::FAILED_PRECONDITION, "x")).http_status, 400);
  EXPECT_EQ(ApiErrorOf(StatusOf(grpc::StatusCode::DEADLINE_EXCEEDED, "x")).http_status, 504);
  EXPECT_EQ(ApiErrorOf(StatusOf(static_cast<grpc::StatusCode>(99), "x")).http_status, 500);
}

TEST(ApiError, IsJsonWhateverTheMessage) {
  const Json json = Json::parse(ErrorJson({.http_status = 500, .message = "\xff\n\""}));
  EXPECT_EQ(json["error"]["type"], "server_error");
  EXPECT_TRUE(json["error"]["param"].is_null());
  EXPECT_TRUE(json["error"]["code"].is_null());
}

}  // namespace
}  // namespace denoise::openai
