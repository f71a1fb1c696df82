#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/drawing/canvas.h"
#include "client/drawing/drawing.h"
#include "client/drawing/panel.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

// In pixels, before the scale.
constexpr double kScale = 1.5;
constexpr int kWidth = 960, kHeight = 630;
constexpr double kLeft = 62, kPanelWidth = 390, kWholeWidth = 873;
constexpr Panel::Place kRequestPlace{kLeft, 112, kPanelWidth, 230};
constexpr Panel::Place kFramePlace{545, 112, kPanelWidth, 230};
constexpr Panel::Place kInFlightPlace{kLeft, 432, kWholeWidth, 140};
constexpr double kTitleLine = 30, kLegendLine = 60, kLegendGap = 26;
constexpr double kDotRadius = 3.2;
constexpr double kMarkedQuantiles[] = {0.5, 0.95, 0.99};
constexpr size_t kMostPoints = 2000;  // of a line
constexpr Color kFilled{0.84, 0.91, 0.96};
constexpr Color kWarmup{0.94, 0.94, 0.94};

using Latencies = std::vector<double> LatencyLine::*;

absl::Status Validate(const LatencyChart& chart) {
  if (chart.lines.empty() || chart.lines.size() > kMaxChartedLines) {
    return absl::InvalidArgumentError(
        absl::StrCat("a chart shows 1 to ", kMaxChartedLines, " lines, not ", chart.lines.size()));
  }
  const bool has_latency =
      std::any_of(chart.lines.begin(), chart.lines.end(),
                  [](const LatencyLine& line) { return !line.request_seconds.empty(); });
  return has_latency ? absl::OkStatus()
                     : absl::InvalidArgumentError("no request succeeded, so no latency is known");
}

// Of a logarithmic axis.
Range SecondsRange(const LatencyChart& chart, Latencies latencies) {
  constexpr double kLeast = 1e-4;
  Range range{INFINITY, 0};
  for (const LatencyLine& line : chart.lines) {
    const std::vector<double>& sorted = line.*latencies;
    if (sorted.empty()) continue;
    range.min = std::min(range.min, std::max(sorted.front(), kLeast));
    range.max = std::max(range.max, std::max(sorted.back(), kLeast));
  }
  if (range.max == 0) return {0.1, 10};  // nothing to show
  return {range.min / 1.2, range.max * 1.2};
}

size_t RankOf(double quantile, size_t size) {
  return static_cast<size_t>(std::ceil(quantile * static_cast<double>(size))) - 1;
}

std::vector<Point> CumulativeSteps(const std::vector<double>& sorted, const Range& seconds) {
  std::vector<Point> points = {{seconds.min, 0}};
  const size_t stride = sorted.size() / kMostPoints + 1;
  double part = 0;
  for (size_t i = 0; i < sorted.size(); i += stride) {
    points.push_back({sorted[i], part});
    part = static_cast<double>(std::min(i + stride, sorted.size())) /
           static_cast<double>(sorted.size());
    points.push_back({sorted[i], part});
  }
  points.push_back({seconds.max, 1});
  return points;
}

void DrawDistribution(Canvas& canvas, Panel& panel, const std::vector<double>& sorted,
                      const Range& seconds) {
  if (sorted.empty()) return;
  canvas.SetLine(1.8);
  panel.DrawLine(CumulativeSteps(sorted, seconds));
  for (const double quantile : kMarkedQuantiles) {
    panel.DrawDot({sorted[RankOf(quantile, sorted.size())], quantile}, kDotRadius);
  }
}

void DrawDistributions(Canvas& canvas, const Panel::Place& place, const LatencyChart& chart,
                       Latencies latencies, const char* title) {
  const Range seconds = SecondsRange(chart, latencies);
  Panel panel(canvas, place, {seconds, AxisScale::kLog}, {.range = {0, 1}});
  panel.DrawAxes(title, "seconds from arrival");
  for (size_t i = 0; i < chart.lines.size(); ++i) {
    canvas.SetColor(kPalette[i]);
    DrawDistribution(canvas, panel, chart.lines[i].*latencies, seconds);
  }
}

// A step function of fewer corners, where there are very many: the largest value of each group.
std::vector<Point> ThinnedSteps(const std::vector<ChartPoint>& corners) {
  std::vector<Point> points;
  const size_t group = corners.size() / kMostPoints + 1;
  for (size_t i = 0; i < corners.size(); i += group) {
    double largest = 0;
    for (size_t j = i; j < std::min(i + group, corners.size()); ++j) {
      largest = std::max(largest, corners[j].y);
    }
    if (!points.empty()) points.push_back({corners[i].x, points.back().y});
    points.push_back({corners[i].x, largest});
  }
  return points;
}

void DrawInFlight(Canvas& canvas, const LatencyChart& chart) {
  const std::vector<Point> points = ThinnedSteps(chart.in_flight);
  Range seconds{0, 1}, calls{0, 1};
  for (const Point& point : points) {
    seconds.max = std::max(seconds.max, point.x);
    calls.max = std::max(calls.max, point.y * 1.08);
  }
  Panel panel(canvas, kInFlightPlace, {.range = seconds}, {.range = calls, .whole_numbers = true});
  canvas.SetColor(kWarmup);
  panel.Fill({0, chart.warmup_seconds}, calls);
  canvas.SetColor(kFilled);
  panel.FillBelow(points);
  panel.DrawAxes(chart.warmup_seconds > 0 ? "Calls in flight (gray: warm-up)" : "Calls in flight",
                 "seconds from the start");
  canvas.SetColor(kPalette[0]);
  canvas.SetLine(1.4);
  panel.DrawLine(points);
}

void DrawLegend(Canvas& canvas, const LatencyChart& chart) {
  double x = kLeft;
  for (size_t i = 0; i < chart.lines.size(); ++i) {
    x += DrawLegendEntry(canvas, x, kLegendLine, kPalette[i], chart.lines[i].name) + kLegendGap;
  }
}

}  // namespace

absl::StatusOr<std::string> DrawLatencies(const LatencyChart& chart, FileKind kind) {
  RETURN_IF_ERROR(Validate(chart));
  Canvas canvas(kind, kWidth, kHeight, kScale);
  canvas.SetColor(kInk);
  canvas.Text(kLeft, kTitleLine, kTextSize + 4, Align::kLeft, chart.title);
  DrawLegend(canvas, chart);
  DrawDistributions(canvas, kRequestPlace, chart, &LatencyLine::request_seconds,
                    "Part of the requests that are done   (● p50, p95, p99)");
  DrawDistributions(canvas, kFramePlace, chart, &LatencyLine::first_frame_seconds,
                    "Part of the requests with a first frame");
  DrawInFlight(canvas, chart);
  return canvas.Finish();
}

}  // namespace denoise
