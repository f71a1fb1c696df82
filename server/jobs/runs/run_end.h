// How a run is stopped, and how it ended.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace denoise {

enum class StopRequest {
  kNone,
  kSave,     // stop after the current step and save a checkpoint
  kDiscard,  // stop without saving
};

struct RunEnd {
  enum class Kind {
    kFinished,
    kStopped,    // as requested
    kDisk,       // the disk is full, or cannot be read or written
    kNonFinite,  // too many consecutive steps were not finite
    kDevice,     // the device has failed for good
    kRanks,      // another rank was lost
    kRegroup,    // another rank leaves: continue at once, with those that are there
    kFailed,
  };
  Kind kind = Kind::kFinished;
  std::string reason;  // for callers

  bool operator==(const RunEnd&) const = default;
};

// How a run ends after `status`, which is not OK, of its work on the device or of its data set. The
// reason leaves out what only the log should say.
RunEnd EndOfWork(const absl::Status& status);

// The same for an error of the recorder.
RunEnd EndOfWriting(const absl::Status& status);

// `status` of the device with FailedPrecondition in place of ResourceExhausted, which would mean
// that the disk is full.
absl::Status DeviceStatus(const absl::Status& status);

}  // namespace denoise
