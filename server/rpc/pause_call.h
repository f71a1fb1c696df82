// PauseGeneration: a unary call that is answered once the engine has let go of a generation.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "denoised/v1/generations.pb.h"
#include "server/generations/generations.h"
#include "server/rpc/generation_stream.h"
#include "server/rpc/handover_wait.h"
#include "server/rpc/unary_call.h"

namespace denoise {

// Deletes itself when gRPC is done with it. A caller that leaves takes nothing back; who pauses the
// generation again gets the same answer.
class PauseCall final : public UnaryCall {
 public:
  // `environment` outlives the call. `context`, `request` and `response` are gRPC's, and live until
  // OnDone.
  PauseCall(const GenerationEnvironment& environment, grpc::CallbackServerContext* context,
            const denoised::v1::PauseGenerationRequest& request,
            denoised::v1::PauseGenerationResponse* response);

  void OnCancel() override;

 private:
  using Result = absl::StatusOr<denoised::v1::PauseGenerationResponse>;

  ~PauseCall() override = default;

  absl::Status Begin(const denoised::v1::PauseGenerationRequest& request);
  void OnOver(absl::StatusOr<HandoverWait::Outcome> outcome);
  Result Answer(const std::optional<GenerationLog::Event>& handover) const;

  const GenerationEnvironment& environment_;
  grpc::CallbackServerContext* const context_;
  const std::string name_;
  denoised::v1::PauseGenerationResponse* const response_;
  const std::shared_ptr<HandoverWait> wait_;
  std::unique_ptr<Generations::Reader> reader_;  // of what has ended; it has room for the token
};

}  // namespace denoise
