// The bare network: how fast evaluations are with no server, no sampler and no pictures around
// them.
#pragma once

#include <filesystem>

#include "absl/status/statusor.h"

namespace denoise {

struct NetworkLoopOptions {
  std::filesystem::path checkpoint;
  int threads = 1;      // within the network
  int rows = 1;         // of each network call
  int evaluations = 1;  // network calls
  bool batch_invariant = true;
};

// Rows per second.
absl::StatusOr<double> MeasureNetworkLoop(const NetworkLoopOptions& options);

}  // namespace denoise
