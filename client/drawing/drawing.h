// What can be drawn: sampler plans, losses, and labelled sheets of pictures. Every function is pure
// and returns the bytes of a file.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/image/image.h"
#include "core/sampling/samplers/plan.h"

namespace denoise {

enum class FileKind { kPng, kSvg };

struct NamedPlan {
  std::string name;  // for the legend
  SamplerPlan plan;
};

// More would be indistinguishable.
inline constexpr int kMaxChartedPlans = 8;

// A chart of the levels of signal and noise, and one of log-SNR = log(alpha^2 / sigma^2), with a
// color for each plan and a mark for each network evaluation. Levels are scaled so that alpha^2 +
// sigma^2 = 1, which makes plans of all kinds comparable. InvalidArgument unless there are 1 to
// kMaxChartedPlans plans, each with an evaluation.
absl::StatusOr<std::string> DrawPlans(std::span<const NamedPlan> plans, FileKind kind);

struct LossPoint {
  int64_t step;
  double loss;
};

struct LossChartSize {
  int width = 640;  // pixels
  int height = 360;
};

// The loss of a training job over its steps: raw, faint, and smoothed by an exponential average, on
// a logarithmic axis. Points that are not finite and above 0 are skipped. InvalidArgument if none
// is left.
absl::StatusOr<std::string> DrawLoss(std::span<const LossPoint> points, const std::string& title,
                                     FileKind kind, LossChartSize size = {});

struct LabelledSheet {
  std::string title;
  std::vector<std::string> rows;  // a label each, possibly empty; likewise the columns
  std::vector<std::string> columns;
  std::vector<Image> cells;  // rows * columns, row by row, of one size
};

// A PNG of pictures in a grid whose rows and columns have labels. Small pictures are enlarged by a
// whole factor. InvalidArgument unless there is exactly one cell for every row and column, at least
// one, all of one size, and the sheet is not too large for cairo.
absl::StatusOr<std::string> DrawLabelledSheet(const LabelledSheet& sheet);

}  // namespace denoise
