// How unary calls end.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <exception>
#include <string>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/statusor.h"
#include "core/base/resource_id.h"
#include "core/base/thread_order.h"
#include "server/rpc/call.h"
#include "server/rpc/status_mapping.h"
#include "server/telemetry/log.h"

namespace denoise {

// Finishes the call with `result`, as its response or its status; refusals are logged. All else is
// gRPC's.
template <class Response>
void FinishCall(grpc::CallbackServerContext* context, grpc::ServerUnaryReactor* reactor,
                absl::StatusOr<Response> result, Response* response) {
  const std::string request_id = NewRandomId();
  if (result.ok()) {
    *response = *std::move(result);
  } else {
    const auto level = LevelOf(result.status());
    LogEvent(level, "request refused",
             {{"request", request_id},
              {"code", absl::StatusCodeToString(result.status().code())},
              {"message", std::string(result.status().message())}});
  }
  reactor->Finish(ToGrpcStatus(result.status(), request_id, *context));
}

// At once, for what takes next to no time.
template <class Response>
grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context,
                                 absl::StatusOr<Response> result, Response* response) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  FinishCall(context, reactor, std::move(result), response);
  return reactor;
}

// With what `work()` returns, a StatusOr<Response>, on a thread of the pool: for what waits for a
// disk, or for a model to be loaded. The call is alive until it is finished, and a shutdown waits
// for it.
template <class Response, class Work>
grpc::ServerUnaryReactor* AnswerOnPool(const CallEnvironment& environment,
                                       grpc::CallbackServerContext* context, Response* response,
                                       Work work) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  LiveCalls* const live_calls = environment.live_calls;
  live_calls->Add();
  BeforeHandOver(reactor);
  environment.pool->Schedule([context, reactor, response, live_calls, work = std::move(work)] {
    AfterHandOver(reactor);
    const absl::Cleanup no_longer_alive = [live_calls] { live_calls->Remove(); };
    absl::StatusOr<Response> result = absl::InternalError("the call was not answered");
    try {
      result = work();
    } catch (const std::exception& error) {  // a library's, or memory ran out
      result = absl::InternalError(error.what());
    }
    FinishCall(context, reactor, std::move(result), response);
  });
  return reactor;
}

}  // namespace denoise
