// How a run is stopped, and what it ended with.
#pragma once

#include <string>

namespace denoise {

enum class StopRequest {
  kNone,
  kSave,     // between two steps, with a checkpoint
  kDiscard,  // the same without
};

struct RunEnd {
  enum class Kind {
    kFinished,
    kStopped,    // as it was asked to
    kDisk,       // which is full, or cannot be written or read
    kNonFinite,  // too many steps in a row
    kFailed,
  };
  Kind kind = Kind::kFinished;
  std::string reason;  // for a caller
};

}  // namespace denoise
