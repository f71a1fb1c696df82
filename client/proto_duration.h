// Durations of the contract.
#pragma once

#include <google/protobuf/duration.pb.h>

#include "absl/time/time.h"

namespace denoise {

inline absl::Duration ToDuration(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

}  // namespace denoise
