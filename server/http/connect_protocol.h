// What the Connect protocol (connectrpc.com/docs/protocol) and gRPC-Web write in headers, and at the
// ends of calls. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "google/rpc/status.pb.h"

namespace denoise {

using CallMetadata = std::vector<std::pair<std::string, std::string>>;  // names in lower case

// How a call is written down.
struct RpcEncoding {
  enum class Protocol {
    kConnectUnary,
    kConnectStream,
    kGrpcWeb,
    kJsonLines,  // ours, for streams by curl: a message a line
  };
  Protocol protocol;
  bool json = false;         // else binary
  bool base64_text = false;  // gRPC-Web's text form
  bool one_message = false;  // the body of the request is one message, not lines of them

  // nullopt for media types that carry no calls.
  static std::optional<RpcEncoding> Parse(std::string_view content_type);
  std::string ContentType() const;
};

// Of gRPC's codes.
int HttpStatusOf(int code);
std::string_view ConnectCode(int code);

// {"code": ..., "message": ..., "details": [...]}
std::string ConnectErrorJson(const google::rpc::Status& error);
// The last message of a stream. `error` is null where the call succeeded.
std::string ConnectEndJson(const google::rpc::Status* error, const CallMetadata& trailers);
// The last message of gRPC-Web.
std::string GrpcWebTrailers(const google::rpc::Status& status, const CallMetadata& trailers);

// A value of metadata as headers carry it: in base64 where the name ends in "-bin".
std::string MetadataText(std::string_view name, std::string_view value);

// Whether a header of a request is the caller's, and not of HTTP or of the protocols.
bool IsCallMetadata(std::string_view name);

}  // namespace denoise
