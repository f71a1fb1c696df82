// One Generate call, as gRPC's callback API sees it.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "denoised/v1/image_generation.pb.h"
#include "server/engine/engine.h"
#include "server/models/model_repository.h"
#include "server/requests/request_validation.h"
#include "server/requests/sample_budget.h"
#include "server/rpc/call_watch.h"
#include "server/rpc/event_stream.h"
#include "server/rpc/live_calls.h"
#include "server/rpc/work_pool.h"
#include "server/telemetry/telemetry.h"

namespace denoise {

// What every call needs; outlives all of them.
struct GenerateEnvironment {
  const ModelRepository* models;
  Engine* engine;
  WorkPool* pool;
  const Clock* clock;
  Telemetry* telemetry;
  LiveCalls* live_calls;
  SampleBudget* samples;
  CallWatch* call_watch;
  RequestLimits limits;
  absl::Duration write_time_max;  // for a reader to take one event
};

// Deletes itself when gRPC is done with it, which is after EndStream. Its event stream may live
// longer, in the hands of the engine, but does not touch the call any more. Never blocks.
class GenerateReactor final : public grpc::ServerWriteReactor<denoised::v1::GenerateEvent>,
                              private EventStream::Writer {
 public:
  // `context` and `request` are gRPC's, and live until OnDone.
  GenerateReactor(const GenerateEnvironment& environment, grpc::CallbackServerContext* context,
                  const denoised::v1::GenerateRequest& request);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  ~GenerateReactor() override = default;

  // On the pool, which calls StartOnPool.
  absl::Status StartLater(const denoised::v1::GenerateRequest& request);
  absl::Status Start(const denoised::v1::GenerateRequest& request) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status StartOnPool(const denoised::v1::GenerateRequest& request)
      ABSL_LOCKS_EXCLUDED(mutex_);
  bool Cancelled() const ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Adopt(std::shared_ptr<EventStream> stream) ABSL_LOCKS_EXCLUDED(mutex_);
  // Null before the request is accepted.
  std::shared_ptr<EventStream> stream() const ABSL_LOCKS_EXCLUDED(mutex_);
  void WriteEvent(denoised::v1::GenerateEvent event) override;
  void EndStream(const absl::Status& status, const StreamTotals& totals) override;
  void BreakOff() override;

  const GenerateEnvironment& environment_;
  grpc::CallbackServerContext* const context_;
  const std::string request_id_;
  const std::string model_;  // as the caller named it
  const absl::Time arrival_;
  SampleBudget::Reservation reservation_;
  denoised::v1::GenerateEvent event_;  // being written

  mutable Mutex mutex_;
  std::shared_ptr<EventStream> stream_ ABSL_GUARDED_BY(mutex_);
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace denoise
