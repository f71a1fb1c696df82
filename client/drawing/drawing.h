// What can be drawn: sampler plans, losses, benchmarks, and labelled sheets of pictures. Every
// function is pure and returns the bytes of a file.
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
inline constexpr int kMaxChartedLines = 8;

// A chart of the levels of signal and noise, and one of log-SNR = log(alpha^2 / sigma^2), with a
// color for each plan and a mark for each network evaluation. Levels are scaled so that alpha^2 +
// sigma^2 = 1, which makes plans of all kinds comparable. InvalidArgument unless there are 1 to
// kMaxChartedLines plans, each with an evaluation.
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

struct ChartPoint {
  double x, y;
};

struct LatencyLine {
  std::string name;                         // for the legend
  std::vector<double> request_seconds;      // sorted, as are those of the next
  std::vector<double> first_frame_seconds;  // may be empty, as may the others
};

struct LatencyChart {
  std::string title;
  std::vector<LatencyLine> lines;
  std::vector<ChartPoint> in_flight;  // the corners of a step function: seconds, calls
  double warmup_seconds = 0;
};

// The cumulative distributions of the latencies, a color for each line, above the number of calls
// in flight over time. InvalidArgument unless there are 1 to kMaxChartedLines lines, and a latency.
absl::StatusOr<std::string> DrawLatencies(const LatencyChart& chart, FileKind kind);

struct ComparedLine {
  std::string name;                         // for the legend
  std::vector<ChartPoint> request_p99;      // seconds over load; absent where nothing succeeded
  std::vector<ChartPoint> first_frame_p99;  // likewise
  std::vector<ChartPoint> goodput;          // requests a second over load
};

struct ComparisonChart {
  std::string title;
  std::vector<ComparedLine> lines;
  double capacity = 0;  // requests a second at load 1
};

// A panel for each of the three quantities, a color for each line. InvalidArgument unless there are
// 1 to kMaxChartedLines lines, and a point of goodput.
absl::StatusOr<std::string> DrawComparison(const ComparisonChart& chart, FileKind kind);

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
