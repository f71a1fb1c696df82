// What a failed call says, as an absl::Status.
#pragma once

#include <grpcpp/support/status.h>

#include <string_view>

#include "absl/status/status.h"

namespace denoise {

// The type URL under which the whole google.rpc.Status is kept as a payload, for callers that read
// details which are not translated here (ResourceInfo).
inline constexpr char kRpcStatusUrl[] = "type.googleapis.com/google.rpc.Status";

// The code is gRPC's own. The google.rpc details are translated: BadRequest into field violations
// (core/base/field_violations.h), RetryInfo into a retry delay (core/base/retry.h), QuotaFailure
// and ErrorInfo (its reason and metadata) into what core/base/error_details.h reads. Details that do not
// parse are left out. `address` is named where the failure is the connection's and not the
// server's. Pure.
absl::Status StatusFromGrpc(const grpc::Status& status, std::string_view address);

}  // namespace denoise
