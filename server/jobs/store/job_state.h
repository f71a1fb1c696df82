// The states of a training job, as one pure function.
//
//     QUEUED -> RUNNING -> SUCCEEDED, FAILED
//       |^        |
//       v|        v
//     PAUSED   CANCELLING -> CANCELLED
//
// A running job stops between two steps. Until then a request to stop it is pending: the job is
// CANCELLING, or RUNNING with `pause_requested`.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "denoised/v1/training.pb.h"

namespace denoise {

using JobState = denoised::v1::TrainingJob::State;

bool IsOver(JobState state);  // SUCCEEDED, FAILED or CANCELLED

// What ends a pause.
enum class PauseEnd {
  kCaller,      // a caller resumes the job
  kRoomOnDisk,  // there is room on the disk again, or a caller resumes the job
};

struct JobStatus {
  JobState state = denoised::v1::TrainingJob::QUEUED;
  std::string reason;
  bool pause_requested = false;            // RUNNING only
  PauseEnd pause_end = PauseEnd::kCaller;  // PAUSED only

  bool operator==(const JobStatus&) const = default;
};

enum class JobAction {
  // Callers.
  kPause,
  kResume,
  kCancel,
  // The runner.
  kStart,      // starts, or continues after a restart of the server
  kStop,       // has stopped between two steps, as was requested
  kDiskFull,   // has stopped because there is no room for a checkpoint
  kRoomAgain,  // there is room now
  kRequeue,    // goes back to the queue: this server runs fewer jobs, or the device has failed
  kWait,       // keeps running, and waits for what `reason` says; empty: it no longer waits
  kSucceed,
  kFail,
};

// The status after `action`. FailedPrecondition, with a message for callers, where the action is
// not possible. Asking for a state that is reached or pending changes nothing. A job that is being
// cancelled ends CANCELLED, however it stops. `reason` is for people and may be empty.
absl::StatusOr<JobStatus> NextStatus(const JobStatus& status, JobAction action,
                                     std::string_view reason);

}  // namespace denoise
