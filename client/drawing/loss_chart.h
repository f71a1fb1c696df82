// The loss of a training job, over its steps.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "client/drawing/file_kind.h"

namespace denoise {

struct LossPoint {
  int64_t step;
  double loss;
};

struct LossChartSize {
  int width = 640;  // pixels
  int height = 360;
};

// The loss as it came, faint, and smoothed by an exponential average, on a logarithmic axis. Points
// that are not finite and above 0 are left out. InvalidArgument where none is left.
absl::StatusOr<std::string> DrawLoss(std::span<const LossPoint> points, const std::string& title,
                                     FileKind kind, LossChartSize size = {});

}  // namespace denoise
