#include "server/http/connect_protocol.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/escaping.h"
#include "google/rpc/error_details.pb.h"

namespace denoise {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;
using Protocol = RpcEncoding::Protocol;

google::rpc::Status BadRequest() {
  google::rpc::Status status;
  status.set_code(3);
  status.set_message("sampler.steps: must be positive \xC3\xA9 100%");
  google::rpc::BadRequest details;
  auto& violation = *details.add_field_violations();
  violation.set_field("sampler.steps");
  violation.set_description("must be positive");
  status.add_details()->PackFrom(details);
  return status;
}

TEST(RpcEncoding, IsReadFromTheContentType) {
  EXPECT_EQ(RpcEncoding::Parse("application/json")->protocol, Protocol::kConnectUnary);
  EXPECT_TRUE(RpcEncoding::Parse("Application/JSON; charset=utf-8")->json);
  EXPECT_FALSE(RpcEncoding::Parse("application/connect+proto")->json);
  EXPECT_TRUE(RpcEncoding::Parse("application/grpc-web-text")->base64_text);
  for (const char* type : {"", "text/plain", "application/grpc", "application/jsonx", "json"}) {
    EXPECT_FALSE(RpcEncoding::Parse(type)) << type;
  }
}

TEST(RpcEncoding, IsWrittenAsItWasRead) {
  for (const char* type : {"application/json", "application/proto", "application/connect+json",
                           "application/connect+proto", "application/grpc-web+proto",
                           "application/grpc-web+json", "application/grpc-web-text+proto"}) {
    EXPECT_EQ(RpcEncoding::Parse(type)->ContentType(), type);
  }
}

TEST(Codes, AreThoseOfTheProtocol) {
  EXPECT_EQ(ConnectCode(1), "canceled");
  EXPECT_EQ(HttpStatusOf(1), 499);
  EXPECT_EQ(ConnectCode(16), "unauthenticated");
  EXPECT_EQ(HttpStatusOf(14), 503);
  EXPECT_EQ(ConnectCode(99), "unknown");
  EXPECT_EQ(HttpStatusOf(-1), 500);
}

TEST(Errors, HaveTheirDetailsInBothForms) {
  const Json error = Json::parse(ConnectErrorJson(BadRequest()));
  EXPECT_EQ(error["code"], "invalid_argument");
  EXPECT_EQ(error["message"], BadRequest().message());
  const Json& detail = error["details"][0];
  EXPECT_EQ(detail["type"], "google.rpc.BadRequest");
  EXPECT_EQ(detail["debug"]["fieldViolations"][0]["field"], "sampler.steps");
  std::string bytes;
  ASSERT_TRUE(absl::Base64Unescape(detail["value"].get<std::string>(), &bytes));
  google::rpc::BadRequest parsed;
  ASSERT_TRUE(parsed.ParseFromString(bytes));
  EXPECT_EQ(parsed.field_violations(0).description(), "must be positive");
}

TEST(Errors, AreJsonWhateverTheirMessage) {
  google::rpc::Status status = BadRequest();
  status.set_message("not UTF-8: \xff\xfe");
  EXPECT_NO_THROW(Json::parse(ConnectErrorJson(status)));
}

TEST(Ends, CarryTrailers) {
  const CallMetadata trailers = {{"denoised-request-id", "a1"}, {"raw-bin", "\x01\xff"}};
  const Json end = Json::parse(ConnectEndJson(nullptr, trailers));
  EXPECT_EQ(end["metadata"]["denoised-request-id"][0], "a1");
  EXPECT_EQ(end["metadata"]["raw-bin"][0], "Af8");
  EXPECT_FALSE(end.contains("error"));
  const google::rpc::Status status = BadRequest();
  EXPECT_EQ(Json::parse(ConnectEndJson(&status, {}))["error"]["code"], "invalid_argument");
}

TEST(GrpcWeb, WritesItsTrailersAsHeaders) {
  const std::string text = GrpcWebTrailers(BadRequest(), {{"denoised-request-id", "a1"}});
  EXPECT_THAT(text, HasSubstr("grpc-status: 3\r\n"));
  EXPECT_THAT(text, HasSubstr("grpc-message: sampler.steps: must be positive %C3%A9 100%25\r\n"));
  EXPECT_THAT(text, HasSubstr("grpc-status-details-bin: "));
  EXPECT_THAT(text, HasSubstr("denoised-request-id: a1\r\n"));
}

TEST(Metadata, IsWhatIsTheCallersOwn) {
  for (const char* name : {"x-request", "x-tenant", "raw-bin"}) {
    EXPECT_TRUE(IsCallMetadata(name)) << name;
  }
  for (const char* name :
       {"", "host", "content-type", "connect-timeout-ms", "grpc-timeout", "cookie",
        "sec-fetch-mode", "accept", "Upper", "a b", "transfer-encoding", "authorization",
        "denoised-identity-bin", "traceparent", "-bin"}) {
    EXPECT_FALSE(IsCallMetadata(name)) << name;
  }
}

}  // namespace
}  // namespace denoise
