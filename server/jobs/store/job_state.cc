#include "server/jobs/store/job_state.h"

#include <optional>

#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

using denoised::v1::TrainingJob;

absl::Status Refuse(const JobStatus& status, JobAction action) {
  const char* what = action == JobAction::kPause    ? "paused"
                     : action == JobAction::kResume ? "resumed"
                     : action == JobAction::kCancel ? "cancelled"
                                                    : "changed like this";
  return absl::FailedPreconditionError(
      absl::StrCat("a job that is ", TrainingJob::State_Name(status.state), " cannot be ", what));
}

JobStatus In(JobState state, std::string_view reason) {
  return {.state = state, .reason = std::string(reason)};
}

JobStatus Paused(PauseEnd end, std::string_view reason) {
  JobStatus status = In(TrainingJob::PAUSED, reason);
  status.pause_end = end;
  return status;
}

// `next`, or PAUSED if a caller has asked for a pause before the job stopped.
JobStatus UnlessPauseRequested(const JobStatus& status, JobStatus next) {
  return status.pause_requested ? Paused(PauseEnd::kCaller, next.reason) : next;
}

JobStatus WithReason(JobStatus status, std::string_view reason) {
  status.reason = std::string(reason);
  return status;
}

JobStatus WithPauseRequested(JobStatus status, bool requested) {
  status.pause_requested = requested;
  return status;
}

std::optional<JobStatus> FromQueued(JobAction action, std::string_view reason) {
  switch (action) {
    case JobAction::kPause:
      return Paused(PauseEnd::kCaller, reason);
    case JobAction::kCancel:
      return In(TrainingJob::CANCELLED, reason);
    case JobAction::kStart:
      return In(TrainingJob::RUNNING, reason);
    case JobAction::kFail:
      return In(TrainingJob::FAILED, reason);
    default:
      return std::nullopt;
  }
}

std::optional<JobStatus> FromRunning(const JobStatus& status, JobAction action,
                                     std::string_view reason) {
  switch (action) {
    case JobAction::kPause:
      return WithPauseRequested(status, true);
    case JobAction::kResume:  // before it has stopped
      if (!status.pause_requested) return std::nullopt;
      return WithPauseRequested(status, false);
    case JobAction::kCancel:
      return In(TrainingJob::CANCELLING, reason);
    case JobAction::kStart:
      return status;
    case JobAction::kStop:
      if (!status.pause_requested) return status;  // a caller has resumed it
      return Paused(PauseEnd::kCaller, reason);
    case JobAction::kDiskFull:
      return UnlessPauseRequested(status, Paused(PauseEnd::kRoomOnDisk, reason));
    case JobAction::kRequeue:
      return UnlessPauseRequested(status, In(TrainingJob::QUEUED, reason));
    case JobAction::kSucceed:
      return In(TrainingJob::SUCCEEDED, reason);
    case JobAction::kFail:
      return In(TrainingJob::FAILED, reason);
    case JobAction::kWait:
      return WithReason(status, reason);
    case JobAction::kRoomAgain:
      return std::nullopt;
  }
  return std::nullopt;
}

std::optional<JobStatus> FromPaused(const JobStatus& status, JobAction action,
                                    std::string_view reason) {
  switch (action) {
    case JobAction::kPause: {  // from now on only a caller ends the pause
      JobStatus paused = status;
      paused.pause_end = PauseEnd::kCaller;
      return paused;
    }
    case JobAction::kResume:
      return In(TrainingJob::QUEUED, reason);
    case JobAction::kCancel:
      return In(TrainingJob::CANCELLED, reason);
    case JobAction::kRoomAgain:
      if (status.pause_end != PauseEnd::kRoomOnDisk) return std::nullopt;
      return In(TrainingJob::QUEUED, reason);
    default:
      return std::nullopt;
  }
}

std::optional<JobStatus> FromCancelling(const JobStatus& status, JobAction action,
                                        std::string_view reason) {
  switch (action) {
    case JobAction::kCancel:
    case JobAction::kStart:
    case JobAction::kWait:
      return status;
    case JobAction::kStop:
    case JobAction::kDiskFull:
    case JobAction::kRequeue:
    case JobAction::kSucceed:
    case JobAction::kFail:
      return In(TrainingJob::CANCELLED, reason);
    default:
      return std::nullopt;
  }
}

std::optional<JobStatus> Next(const JobStatus& status, JobAction action, std::string_view reason) {
  switch (status.state) {
    case TrainingJob::QUEUED:
      return FromQueued(action, reason);
    case TrainingJob::RUNNING:
      return FromRunning(status, action, reason);
    case TrainingJob::PAUSED:
      return FromPaused(status, action, reason);
    case TrainingJob::CANCELLING:
      return FromCancelling(status, action, reason);
    default:
      return std::nullopt;
  }
}

}  // namespace

bool IsOver(JobState state) {
  return state == TrainingJob::SUCCEEDED || state == TrainingJob::FAILED ||
         state == TrainingJob::CANCELLED;
}

absl::StatusOr<JobStatus> NextStatus(const JobStatus& status, JobAction action,
                                     std::string_view reason) {
  if (auto next = Next(status, action, reason)) return *std::move(next);
  return Refuse(status, action);
}

}  // namespace denoise
