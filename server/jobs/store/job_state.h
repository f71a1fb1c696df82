// The life of a training job, as one pure function.
//
//     QUEUED -> RUNNING -> SUCCEEDED, FAILED
//       |^        |
//       v|        v
//     PAUSED   CANCELLING -> CANCELLED
//
// A running job stops between two steps, so what callers ask of it is first a wish: CANCELLING, or
// RUNNING with `pause_requested`.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "denoised/v1/training.pb.h"

namespace denoise {

using JobState = denoised::v1::TrainingJob::State;

bool IsOver(JobState state);  // SUCCEEDED, FAILED or CANCELLED

// Who ends a pause.
enum class PauseEnd {
  kCaller,      // by resuming it
  kRoomOnDisk,  // the server, once there is room again; or a caller
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
  kStart,      // or go on, after the server was started again
  kStop,       // it is between two steps, and stops if that is still wanted
  kDiskFull,   // it has stopped because there is no room for a checkpoint
  kRoomAgain,  // and now there is
  kRequeue,    // it does not run after all: not in this server, for now
  kSucceed,
  kFail,
};

// What becomes of `status`. FailedPrecondition, in words for a caller, where that cannot be. Asking for
// what is so, or is under way, changes nothing. A job that is being cancelled ends CANCELLED, whatever
// it stops with. `reason` is why, for a person; may be empty.
absl::StatusOr<JobStatus> NextStatus(const JobStatus& status, JobAction action,
                                     std::string_view reason);

}  // namespace denoise
