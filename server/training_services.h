// The services of training: data sets and training jobs.
//
// While the state cannot be opened because the disk is full, the server serves everything else. The
// calls of training then fail with RESOURCE_EXHAUSTED, and try to open it again, so that training
// comes back once there is room.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/mutex.h"
#include "server/grpc_listener.h"
#include "server/rpc/call.h"
#include "server/rpc/datasets_service.h"
#include "server/rpc/training_service.h"
#include "server/server_flags.h"
#include "server/training_state.h"

namespace denoise {

// Thread-safe.
class TrainingServices {
 public:
  // Opens the state if the disk is not full. Errors are those of TrainingState::Open but for a full
  // disk. `model_pool` outlives this: calls that load or copy models are answered on it.
  static absl::StatusOr<std::unique_ptr<TrainingServices>> Start(
      const ServerFlags& flags, const TrainingState::Environment& environment,
      const CallEnvironment& calls, WorkPool* model_pool);

  std::vector<NamedService> services() {
    return {{denoised::v1::Training::service_full_name(), &training_service_},
            {denoised::v1::Datasets::service_full_name(), &datasets_service_}};
  }

  // TrainingState::Stop. The state is not opened any more.
  void Stop(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using Open = std::function<absl::StatusOr<std::unique_ptr<TrainingState>>()>;

  TrainingServices(Open open, const Clock* clock, const CallEnvironment& calls,
                   WorkPool* model_pool);

  // The state, once it is open. The status is for callers.
  absl::StatusOr<TrainingState*> State() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status TryToOpen() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Open open_;
  const Clock* const clock_;
  Mutex mutex_;  // held while the state is being opened
  std::unique_ptr<TrainingState> state_ ABSL_GUARDED_BY(mutex_);  // once set, it stays
  absl::Time next_try_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  std::string logged_reason_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  TrainingService training_service_;
  DatasetsService datasets_service_;
};

}  // namespace denoise
