#include "server/http/connect_protocol.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <array>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/http/http_exchange.h"
#include "server/http/rpc_methods.h"
#include "server/identity/access_control.h"
#include "server/rpc/call_record.h"

namespace denoise {
namespace {

using Json = nlohmann::ordered_json;

struct CodeEntry {
  std::string_view name;
  int http_status;
};

// By gRPC's code (connectrpc.com/docs/protocol#error-codes).
constexpr std::array<CodeEntry, 17> kCodes = {{{"", 200},
                                               {"canceled", 499},
                                               {"unknown", 500},
                                               {"invalid_argument", 400},
                                               {"deadline_exceeded", 504},
                                               {"not_found", 404},
                                               {"already_exists", 409},
                                               {"permission_denied", 403},
                                               {"resource_exhausted", 429},
                                               {"failed_precondition", 400},
                                               {"aborted", 409},
                                               {"out_of_range", 400},
                                               {"unimplemented", 501},
                                               {"internal", 500},
                                               {"unavailable", 503},
                                               {"data_loss", 500},
                                               {"unauthenticated", 401}}};

const CodeEntry& EntryOf(int code) {
  constexpr int kUnknown = 2;
  return kCodes[code >= 0 && code < static_cast<int>(kCodes.size()) ? code : kUnknown];
}

std::string Base64(std::string_view bytes) {
  std::string text = absl::Base64Escape({bytes.data(), bytes.size()});
  while (!text.empty() && text.back() == '=') text.pop_back();
  return text;
}

// What a detail says, for people. Empty for types that the server does not know.
Json DebugOf(const google::protobuf::Any& detail, const std::string& type) {
  const auto* descriptor =
      google::protobuf::DescriptorPool::generated_pool()->FindMessageTypeByName(type);
  if (descriptor == nullptr) return nullptr;
  const auto* prototype =
      google::protobuf::MessageFactory::generated_factory()->GetPrototype(descriptor);
  const auto json = BinaryToJson(detail.value(), *prototype);
  return json.ok() ? Json::parse(*json, nullptr, /*allow_exceptions=*/false) : Json(nullptr);
}

Json ErrorObject(const google::rpc::Status& error) {
  Json object = {{"code", std::string(ConnectCode(error.code()))}};
  if (!error.message().empty()) object["message"] = error.message();
  for (const google::protobuf::Any& any : error.details()) {
    const std::string type = any.type_url().substr(any.type_url().rfind('/') + 1);
    Json detail = {{"type", type}, {"value", Base64(any.value())}};
    if (Json debug = DebugOf(any, type); !debug.is_null()) detail["debug"] = std::move(debug);
    object["details"].push_back(std::move(detail));
  }
  return object;
}

std::string Dump(const Json& json) {  // bytes that are not UTF-8 would make it throw
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// gRPC's encoding of messages in headers.
std::string PercentEncode(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    if (c >= 0x20 && c <= 0x7e && c != '%') {
      encoded += c;
    } else {
      absl::StrAppendFormat(&encoded, "%%%02X", static_cast<unsigned char>(c));
    }
  }
  return encoded;
}

}  // namespace

std::string MetadataText(std::string_view name, std::string_view value) {
  return absl::EndsWith({name.data(), name.size()}, "-bin") ? Base64(value) : std::string(value);
}

std::optional<RpcEncoding> RpcEncoding::Parse(std::string_view content_type) {
  const std::string type = MediaType(content_type);
  using enum Protocol;
  if (type == "application/json") return RpcEncoding{.protocol = kConnectUnary, .json = true};
  if (type == "application/proto") return RpcEncoding{.protocol = kConnectUnary};
  if (type == "application/connect+json") {
    return RpcEncoding{.protocol = kConnectStream, .json = true};
  }
  if (type == "application/x-ndjson") return RpcEncoding{.protocol = kJsonLines, .json = true};
  if (type == "application/connect+proto") return RpcEncoding{.protocol = kConnectStream};
  if (type == "application/grpc-web" || type == "application/grpc-web+proto") {
    return RpcEncoding{.protocol = kGrpcWeb};
  }
  if (type == "application/grpc-web+json") return RpcEncoding{.protocol = kGrpcWeb, .json = true};
  if (type == "application/grpc-web-text" || type == "application/grpc-web-text+proto") {
    return RpcEncoding{.protocol = kGrpcWeb, .base64_text = true};
  }
  return std::nullopt;
}

std::string RpcEncoding::ContentType() const {
  const char* const format = json ? "json" : "proto";
  switch (protocol) {
    case Protocol::kConnectUnary:
      return absl::StrCat("application/", format);
    case Protocol::kConnectStream:
      return absl::StrCat("application/connect+", format);
    case Protocol::kJsonLines:
      return "application/x-ndjson";
    case Protocol::kGrpcWeb:
      return absl::StrCat("application/grpc-web", base64_text ? "-text" : "", "+", format);
  }
  return "";
}

int HttpStatusOf(int code) { return EntryOf(code).http_status; }
std::string_view ConnectCode(int code) { return EntryOf(code).name; }

std::string ConnectErrorJson(const google::rpc::Status& error) { return Dump(ErrorObject(error)); }

std::string ConnectEndJson(const google::rpc::Status* error, const CallMetadata& trailers) {
  Json end = Json::object();
  if (error != nullptr) end["error"] = ErrorObject(*error);
  for (const auto& [name, value] : trailers) {
    end["metadata"][name].push_back(MetadataText(name, value));
  }
  return Dump(end);
}

std::string GrpcWebTrailers(const google::rpc::Status& status, const CallMetadata& trailers) {
  std::string text = absl::StrCat("grpc-status: ", status.code(), "\r\n");
  if (!status.message().empty()) {
    absl::StrAppend(&text, "grpc-message: ", PercentEncode(status.message()), "\r\n");
  }
  if (status.details_size() > 0) {
    absl::StrAppend(&text, "grpc-status-details-bin: ", Base64(status.SerializeAsString()), "\r\n");
  }
  for (const auto& [name, value] : trailers) {
    absl::StrAppend(&text, name, ": ", MetadataText(name, value), "\r\n");
  }
  return text;
}

bool IsCallMetadata(std::string_view name) {
  static const auto* const kOthers = new std::set<std::string_view>{"accept",
                                                                    "authorization",
                                                                    "cache-control",
                                                                    "connection",
                                                                    "cookie",
                                                                    kSealedIdentityKey,
                                                                    kProtocolKey,
                                                                    kTraceparentKey,
                                                                    "dnt",
                                                                    "expect",
                                                                    "forwarded",
                                                                    "host",
                                                                    "keep-alive",
                                                                    "origin",
                                                                    "pragma",
                                                                    "priority",
                                                                    "range",
                                                                    "referer",
                                                                    "te",
                                                                    "trailer",
                                                                    "transfer-encoding",
                                                                    "upgrade",
                                                                    "upgrade-insecure-requests",
                                                                    "user-agent",
                                                                    "via",
                                                                    "x-grpc-web",
                                                                    "x-user-agent"};
  if (kOthers->contains(name)) return false;
  for (const std::string_view prefix :
       {"accept-", "connect-", "content-", "grpc-", "if-", "proxy-", "sec-", ":"}) {
    if (name.starts_with(prefix)) return false;
  }
  // gRPC does not take "-bin" alone for a binary name, and ends the process over a binary value.
  return !name.empty() && name != "-bin" && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  });
}

}  // namespace denoise
