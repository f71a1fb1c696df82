// How a call ended, with its details, for whatever protocol writes it down.
#pragma once

#include <grpcpp/support/status.h>

#include <string>

#include "absl/status/status.h"
#include "google/rpc/status.pb.h"

namespace denoise {

// What gRPC answered.
google::rpc::Status RpcStatusOf(const grpc::Status& status);
// Why HTTP refuses a call that gRPC has not seen; what is about the server's inside is withheld.
google::rpc::Status RpcStatusOf(const absl::Status& status);

// What "Retry-After" says, in seconds; empty where the error does not say when to try again.
std::string RetryAfter(const google::rpc::Status& status);

}  // namespace denoise
