// PauseGeneration: a unary call that is answered once the engine has let go of a generation.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "core/base/mutex.h"
#include "core/base/object_count.h"
#include "denoised/v1/generations.pb.h"
#include "server/generations/generations.h"
#include "server/rpc/generation_stream.h"

namespace denoise {

// Deletes itself when gRPC is done with it. Reads the generation's log as a stream does: whenever
// there is something new, on the pool, so that no thread waits. A caller that leaves takes nothing
// back; who pauses the generation again gets the same answer.
class PauseCall final : public grpc::ServerUnaryReactor {
 public:
  // `environment` outlives the call. `context`, `request` and `response` are gRPC's, and live until
  // OnDone.
  PauseCall(const GenerationEnvironment& environment, grpc::CallbackServerContext* context,
            const denoised::v1::PauseGenerationRequest& request,
            denoised::v1::PauseGenerationResponse* response);

  void OnCancel() override;
  void OnDone() override;

 private:
  using Result = absl::StatusOr<denoised::v1::PauseGenerationResponse>;

  // What those who wake the call hold of it: safe to use after the call is gone.
  struct WakeTarget {
    std::atomic<bool> scheduled = false;
    Mutex mutex;
    PauseCall* call ABSL_GUARDED_BY(mutex) = nullptr;  // while it waits for an answer
  };

  ~PauseCall() override = default;

  absl::Status Begin(const denoised::v1::PauseGenerationRequest& request);
  static void Look(WakeTarget& target);
  std::optional<Result> Read();
  Result Answer();
  void End(Result result);

  const GenerationEnvironment& environment_;
  const CountedObject counted_;
  grpc::CallbackServerContext* const context_;
  const std::shared_ptr<CallRecord> record_;
  const std::string name_;
  denoised::v1::PauseGenerationResponse* const response_;
  const std::shared_ptr<WakeTarget> wake_target_ = std::make_shared<WakeTarget>();
  // Guarded by the mutex of the target while the call waits.
  std::unique_ptr<Generations::Reader> reader_;
  std::optional<GenerationLog::Event> handover_;
};

}  // namespace denoise
