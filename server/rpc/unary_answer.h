// How unary calls end.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "server/rpc/request_id.h"
#include "server/rpc/status_mapping.h"
#include "server/telemetry/log.h"

namespace denoise {

// Finishes the call with `result`, as its response or its status; refusals are logged. `context` and
// `response` are gRPC's, as is what is returned.
template <class Response>
grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context,
                                 absl::StatusOr<Response> result, Response* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const std::string request_id = NewRequestId();
  if (result.ok()) {
    *response = *std::move(result);
  } else {
    LogEvent(spdlog::level::info, "request refused",
             {{"request", request_id},
              {"code", absl::StatusCodeToString(result.status().code())},
              {"message", std::string(result.status().message())}});
  }
  reactor->Finish(ToGrpcStatus(result.status(), request_id, *context));
  return reactor;
}

}  // namespace denoise
