// How a failure inside becomes a status on the wire: google.rpc.Status with details, small enough
// for the trailers.
//
//     FieldViolations (core/base)          -> BadRequest, one entry per field
//     a retry delay (core/base/retry)      -> RetryInfo, and the trailer grpc-retry-pushback-ms
//     a resource (core/base/error_details) -> ResourceInfo
//     a quota                              -> QuotaFailure
//     every failure                        -> ErrorInfo {reason, which is that of the status or
//                                             follows from its code; domain "denoised"; metadata
//                                             request_id and what the status says}
//
// Messages that callers must not see (WithholdsMessage) are replaced by the request id, under which
// the log has them. Pure functions, thread-safe.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace denoise {

// The id under which the log has a call that failed.
inline constexpr char kRequestIdTrailer[] = "denoised-request-id";

// The details stay under this many bytes: a client gives up the whole status when its trailers
// exceed 8 KiB, and the details are sent in base64.
inline constexpr size_t kMaxStatusDetailsBytes = 4096;

struct WireStatus {
  grpc::Status status;
  std::optional<std::string> retry_pushback_ms;  // value of the trailer, where there is one
};

WireStatus ToWireStatus(const absl::Status& status, std::string_view request_id);

// The same, with the trailers put into `context`, before Finish.
grpc::Status ToGrpcStatus(const absl::Status& status, std::string_view request_id,
                          grpc::ServerContextBase& context);

}  // namespace denoise
