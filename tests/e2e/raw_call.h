// Calls with bytes instead of messages, for what the generated code would not send or cannot parse.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/support/status.h>

#include <memory>
#include <string>

namespace denoise {

struct RawResponse {
  grpc::Status status;
  std::string bytes;
};

// Sends `bytes` as the only request message of `method` ("/package.Service/Method") and takes the
// only response.
RawResponse CallWithBytes(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                          const std::string& bytes);

}  // namespace denoise
