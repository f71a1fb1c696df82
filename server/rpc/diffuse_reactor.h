// One Diffuse call, as gRPC's callback API sees it.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "core/base/mutex.h"
#include "denoised/v1/image_generation.pb.h"
#include "server/rpc/diffusion.h"
#include "server/rpc/generate_reactor.h"
#include "server/rpc/reader_watch.h"
#include "server/rpc/sample_budget.h"

namespace denoise {

// The diffusion takes its turns on the picture pool, one after the other; an event is made only
// once the one before has been taken. Deletes itself when gRPC is done with it. Never blocks.
class DiffuseReactor final : public grpc::ServerWriteReactor<denoised::v1::DiffuseEvent> {
 public:
  // `context` and `request` are gRPC's, and live until OnDone.
  DiffuseReactor(const GenerateEnvironment& environment, grpc::CallbackServerContext* context,
                 const denoised::v1::DiffuseRequest& request);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  // When the write under way began, for the watch, which may look after the call is over.
  class Reader final : public WatchedReader {
   public:
    Reader(grpc::CallbackServerContext* context, const Clock* clock, absl::Duration write_time_max)
        : context_(context), clock_(clock), write_time_max_(write_time_max) {}

    void BeginWrite() ABSL_LOCKS_EXCLUDED(mutex_);
    void EndWrite() ABSL_LOCKS_EXCLUDED(mutex_);
    void Leave() ABSL_LOCKS_EXCLUDED(mutex_);  // the context goes away
    void CheckReader() override ABSL_LOCKS_EXCLUDED(mutex_);

   private:
    Mutex mutex_;
    grpc::CallbackServerContext* context_ ABSL_GUARDED_BY(mutex_);
    const Clock* const clock_;
    const absl::Duration write_time_max_;
    absl::Time write_began_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  };

  ~DiffuseReactor() override = default;

  absl::Status Start(const denoised::v1::DiffuseRequest& request);
  void TakeTurn();
  absl::StatusOr<std::optional<denoised::v1::DiffuseEvent>> Turn();
  void ScheduleTurn();
  void End(const absl::Status& status);

  const GenerateEnvironment& environment_;
  grpc::CallbackServerContext* const context_;
  const std::string request_id_;
  const std::string model_;  // as the caller named it
  const absl::Time arrival_;
  const std::shared_ptr<Reader> reader_;
  std::atomic<bool> cancelled_ = false;
  std::optional<Diffusion> diffusion_;  // absent where the request was refused
  SampleBudget::Reservation reservation_;
  denoised::v1::DiffuseEvent event_;  // being written
};

}  // namespace denoise
