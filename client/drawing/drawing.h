// What can be drawn: sampler plans, losses, and labelled sheets of pictures. Every function is pure and
// returns the bytes of a file.
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

// More could not be told apart.
inline constexpr int kMaxChartedPlans = 8;

// A chart of the levels of signal and noise and one of log-SNR = log(alpha^2 / sigma^2), a color for
// each plan, a mark for each network evaluation. Levels are those of the image scaled so that
// alpha^2 + sigma^2 = 1, in which plans of all kinds compare. InvalidArgument unless there are 1 to
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

// The loss as it came, faint, and smoothed by an exponential average, on a logarithmic axis. Points
// that are not finite and above 0 are left out. InvalidArgument where none is left.
absl::StatusOr<std::string> DrawLoss(std::span<const LossPoint> points, const std::string& title,
                                     FileKind kind, LossChartSize size = {});

struct LabelledSheet {
  std::string title;
  std::vector<std::string> rows;  // a label each, which may be empty; likewise the columns
  std::vector<std::string> columns;
  std::vector<Image> cells;  // rows * columns, row by row, of one size
};

// A PNG. Small pictures are enlarged by a whole factor, so that they can be seen. InvalidArgument
// unless there is a cell for every row and column, there is one, all have one size and the sheet is
// of reasonable size.
absl::StatusOr<std::string> DrawLabelledSheet(const LabelledSheet& sheet);

}  // namespace denoise
