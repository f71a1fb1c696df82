// The methods of the server by path, and their messages in binary and in JSON.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace denoise {

struct RpcMethod {
  const google::protobuf::Message* request;  // what messages of its type are made from
  const google::protobuf::Message* response;
  bool client_streaming = false;
  bool server_streaming = false;

  bool streams() const { return client_streaming || server_streaming; }
};

// Immutable, thread-safe.
class RpcMethods {
 public:
  // Of `services`, by full name, whose descriptors are linked.
  explicit RpcMethods(const std::vector<std::string>& services);

  // By "/denoised.v1.Models/ListModels"; null where there is none.
  const RpcMethod* Find(std::string_view path) const;

 private:
  std::map<std::string, RpcMethod, std::less<>> methods_;
};

// Protobuf's JSON mapping, in both directions. InvalidArgument says what is wrong with `json`: names
// that the message does not have, too, and more values than any request has. Internal where `binary` is no such message.
absl::StatusOr<std::string> JsonToBinary(std::string_view json,
                                         const google::protobuf::Message& prototype);
absl::StatusOr<std::string> BinaryToJson(std::string_view binary,
                                         const google::protobuf::Message& prototype);

}  // namespace denoise
