#include "server/training_services.h"

#include <utility>

#include "core/base/retry.h"
#include "core/base/status_macros.h"
#include "server/telemetry/log.h"

namespace denoise {
namespace {

// How often callers may make the server look whether there is room now.
constexpr absl::Duration kRetryInterval = absl::Seconds(5);

absl::Status DiskIsFull() {
  return absl::ResourceExhaustedError(
      "training is off: the disk of the server's --state was full when it was opened. Make room "
      "there and call again; the server tries again every five seconds");
}

}  // namespace

absl::StatusOr<std::unique_ptr<TrainingServices>> TrainingServices::Start(
    const ServerFlags& flags, const TrainingState::Environment& environment,
    const CallEnvironment& calls, WorkPool* model_pool) {
  std::unique_ptr<TrainingServices> services(
      new TrainingServices([flags, environment] { return TrainingState::Open(flags, environment); },
                           environment.clock, calls, model_pool));
  {
    const MutexLock lock(services->mutex_);
    const absl::Status opened = services->TryToOpen();
    if (!opened.ok() && !absl::IsResourceExhausted(opened)) return opened;
  }
  return services;
}

TrainingServices::TrainingServices(Open open, const Clock* clock, const CallEnvironment& calls,
                                   WorkPool* model_pool)
    : open_(std::move(open)),
      clock_(clock),
      training_service_(
          [this]() -> absl::StatusOr<TrainingJobs*> {
            ASSIGN_OR_RETURN(TrainingState* const state, State());
            return state->jobs();
          },
          calls, model_pool),
      datasets_service_(
          [this]() -> absl::StatusOr<DataSetStore*> {
            ASSIGN_OR_RETURN(TrainingState* const state, State());
            return state->data_sets();
          },
          calls) {}

absl::StatusOr<TrainingState*> TrainingServices::State() {
  const MutexLock lock(mutex_);
  if (state_) return state_.get();
  if (stopped_) return DrainingError();
  if (clock_->Now() < next_try_) return DiskIsFull();
  const absl::Status opened = TryToOpen();
  if (opened.ok()) return state_.get();
  if (absl::IsResourceExhausted(opened)) return DiskIsFull();
  return absl::FailedPreconditionError(
      "training is off: the server's --state cannot be opened; its log says why");
}

// The status is for the operator.
absl::Status TrainingServices::TryToOpen() {
  absl::StatusOr<std::unique_ptr<TrainingState>> state = open_();
  if (state.ok()) {
    state_ = *std::move(state);
    if (!logged_reason_.empty()) LogEvent(spdlog::level::info, "training is on", {});
    return absl::OkStatus();
  }
  next_try_ = clock_->Now() + kRetryInterval;
  const std::string reason(state.status().message());
  if (reason != logged_reason_) {
    if (absl::IsResourceExhausted(state.status())) {
      LogEvent(spdlog::level::err, "training is off",
               {{"reason", reason}, {"do", "make room on the disk, then list the data sets"}});
    } else {
      LogEvent(spdlog::level::err, "training cannot start", {{"reason", reason}});
    }
  }
  logged_reason_ = reason;
  return state.status();
}

void TrainingServices::Stop(absl::Time deadline) {
  TrainingState* state = nullptr;  // which stays: calls must not wait for the jobs to stop
  {
    const MutexLock lock(mutex_);
    stopped_ = true;
    state = state_.get();
  }
  if (state != nullptr) state->Stop(deadline);
}

}  // namespace denoise
