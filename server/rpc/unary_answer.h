// How unary calls are answered. Whoever may not make a call is refused before any work is done for
// it.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <exception>
#include <memory>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/statusor.h"
#include "core/base/object_count.h"
#include "core/base/thread_order.h"
#include "server/rpc/call.h"
#include "server/rpc/call_record.h"
#include "server/rpc/caller_identity.h"
#include "server/rpc/status_mapping.h"

namespace denoise {

// Finishes the call with `result`, as its response or its status; refusals are logged. All else is
// gRPC's.
template <class Response>
void FinishCall(grpc::CallbackServerContext* context, grpc::ServerUnaryReactor* reactor,
                absl::StatusOr<Response> result, Response* response) {
  const std::shared_ptr<CallRecord> record = RecordOf(*context);
  if (result.ok()) {
    *response = *std::move(result);
  } else {
    LogRefusal(*record, result.status());
  }
  reactor->Finish(ToGrpcStatus(result.status(), record->id(), *context));
}

// With what `work(caller)` returns, a StatusOr<Response>, at once: for what takes next to no time.
template <class Response, class Work>
grpc::ServerUnaryReactor* Answer(const CallEnvironment& environment,
                                 grpc::CallbackServerContext* context, Response* response,
                                 Work work) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  const absl::StatusOr<Identity> caller = IdentifyCaller(environment.access, *context);
  absl::StatusOr<Response> result =
      caller.ok() ? work(*caller) : absl::StatusOr<Response>(caller.status());
  FinishCall(context, reactor, std::move(result), response);
  return reactor;
}

// The same on a thread of the pool, for what waits for a disk, or for a model to be loaded. The call
// is alive until it is finished, and a shutdown waits for it.
template <class Response, class Work>
grpc::ServerUnaryReactor* AnswerOnPool(const CallEnvironment& environment,
                                       grpc::CallbackServerContext* context, Response* response,
                                       Work work) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  absl::StatusOr<Identity> caller = IdentifyCaller(environment.access, *context);
  if (!caller.ok()) {
    FinishCall(context, reactor, absl::StatusOr<Response>(caller.status()), response);
    return reactor;
  }
  LiveCalls* const live_calls = environment.live_calls;
  live_calls->Add();
  BeforeHandOver(reactor);
  environment.pool->Schedule([context, reactor, response, live_calls, caller = *std::move(caller),
                              work = std::move(work),
                              counted = std::make_shared<CountedObject>(environment.counts.unary)] {
    AfterHandOver(reactor);
    const absl::Cleanup no_longer_alive = [live_calls] { live_calls->Remove(); };
    absl::StatusOr<Response> result = absl::InternalError("the call was not answered");
    try {
      result = work(caller);
    } catch (const std::exception& error) {  // a library's, or memory ran out
      result = absl::InternalError(error.what());
    }
    FinishCall(context, reactor, std::move(result), response);
  });
  return reactor;
}

}  // namespace denoise
