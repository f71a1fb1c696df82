// How unary calls are answered. Whoever may not make a call is refused before any work is done for
// it.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <utility>

#include "absl/status/statusor.h"
#include "core/base/status_macros.h"
#include "core/base/thread_order.h"
#include "server/rpc/call.h"
#include "server/rpc/call_end.h"
#include "server/rpc/caller_identity.h"
#include "server/rpc/unary_call.h"

namespace denoise {

// Answers with what `work(caller)` returns, a StatusOr<Response>, at once: for what takes next to
// no time.
template <class Response, class Work>
grpc::ServerUnaryReactor* Answer(const CallEnvironment& environment,
                                 grpc::CallbackServerContext* context, Response* response,
                                 Work work) {
  auto* const call = new UnaryCall(environment, context);
  const auto answer = [&]() -> absl::StatusOr<Response> {
    ASSIGN_OR_RETURN(const Identity caller, IdentifyCaller(environment.access, *context));
    return work(caller);
  };
  call->End(CatchAsInternal("cannot answer", answer), response);
  return call;
}

// The same on a thread of the pool, for what waits for a disk, or for a model to be loaded.
template <class Response, class Work>
grpc::ServerUnaryReactor* AnswerOnPool(const CallEnvironment& environment,
                                       grpc::CallbackServerContext* context, Response* response,
                                       Work work) {
  auto* const call = new UnaryCall(environment, context);
  absl::StatusOr<Identity> caller = CatchAsInternal(
      "cannot answer", [&] { return IdentifyCaller(environment.access, *context); });
  if (!caller.ok()) {
    call->End(absl::StatusOr<Response>(caller.status()), response);
    return call;
  }
  BeforeHandOver(call);
  environment.pool->Schedule([call, response, caller = *std::move(caller), work = std::move(work)] {
    AfterHandOver(call);
    const auto answer = [&]() -> absl::StatusOr<Response> { return work(caller); };
    call->End(CatchAsInternal("cannot answer", answer), response);
  });
  return call;
}

}  // namespace denoise
