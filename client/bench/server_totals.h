// What the devices of a server have done since it started.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/connection.h"

namespace denoise {

struct ServerTotals {
  int64_t evaluations = 0;
  int64_t rows = 0;  // of all evaluations
  absl::Duration evaluating;
  absl::Duration encoding;
  absl::Duration decoding;
  absl::Duration training;
};

// From the first snapshot of WatchActivity. Unimplemented: the server has no such method.
absl::StatusOr<ServerTotals> ReadServerTotals(const Connection& connection);

// What was done in between.
ServerTotals operator-(const ServerTotals& later, const ServerTotals& earlier);

}  // namespace denoise
