// The reactor of every unary call.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/object_count.h"
#include "server/rpc/call.h"

namespace denoise {

// Ends the call of a client that does not read its answer: one that leaves no room in its HTTP/2
// window would otherwise keep the answer for ever. A shutdown waits until the call is over.
//
// Deletes itself when gRPC is done with it.
class UnaryCall : public grpc::ServerUnaryReactor {
 public:
  // `context` is gRPC's, and lives until OnDone.
  UnaryCall(const CallEnvironment& environment, grpc::CallbackServerContext* context);

  // Answers with `result`, as its response or its status; refusals are logged. Call it once, on any
  // thread. The reactor may be gone when it returns, unless gRPC has yet to be given it.
  template <class Response>
  void End(absl::StatusOr<Response> result, Response* response);

  void OnDone() override;

 protected:
  ~UnaryCall() override = default;

  CallRecord& record() const { return *record_; }

 private:
  void FinishWith(absl::FunctionRef<absl::Status()> answer);

  const CountedObject counted_;
  LiveCalls* const live_calls_;
  grpc::CallbackServerContext* const context_;
  const std::shared_ptr<CallRecord> record_;
  const std::shared_ptr<WatchedCall> watched_call_;
};

template <class Response>
void UnaryCall::End(absl::StatusOr<Response> result, Response* response) {
  FinishWith([&] {
    if (result.ok()) *response = *std::move(result);
    return result.status();
  });
}

}  // namespace denoise
