// How a run is stopped, and what it ended with.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace denoise {

enum class StopRequest {
  kNone,
  kSave,     // after the steps that are done, with a checkpoint
  kDiscard,  // the same without
};

struct RunEnd {
  enum class Kind {
    kFinished,
    kStopped,    // as it was asked to
    kDisk,       // which is full, or cannot be read or written
    kNonFinite,  // too many steps in a row
    kFailed,
  };
  Kind kind = Kind::kFinished;
  std::string reason;  // for a caller

  bool operator==(const RunEnd&) const = default;
};

// What `status`, which is not OK, of the device's work ends a run with; of a data set that cannot be
// read, too. What only the log should know is left out.
RunEnd EndOfWork(const absl::Status& status);

// The same of what the recorder could not write.
RunEnd EndOfWriting(const absl::Status& status);

// `status` of the device, apart from what the disk says: FailedPrecondition where memory ran out.
absl::Status DeviceStatus(const absl::Status& status);

}  // namespace denoise
