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
constexpr int kWidth = 1200, kHeight = 420;
constexpr double kLefts[] = {62, 460, 858};
constexpr double kTop = 104, kPanelWidth = 312, kPanelHeight = 250;
constexpr double kTitleLine = 30, kLegendLine = 60, kLegendGap = 30;
constexpr double kDotRadius = 3.6;
constexpr double kIdealDash = 5;
constexpr Color kIdeal{0.55, 0.55, 0.55};
constexpr char kLoadLabel[] = "load (arrivals / capacity)";

using Curve = std::vector<ChartPoint> ComparedLine::*;

absl::Status Validate(const ComparisonChart& chart) {
  if (chart.lines.empty() || chart.lines.size() > kMaxChartedLines) {
    return absl::InvalidArgumentError(
        absl::StrCat("a chart shows 1 to ", kMaxChartedLines, " lines, not ", chart.lines.size()));
  }
  const bool has_point =
      std::any_of(chart.lines.begin(), chart.lines.end(),
                  [](const ComparedLine& line) { return !line.goodput.empty(); });
  return has_point ? absl::OkStatus() : absl::InvalidArgumentError("there is no run to draw");
}

// Calls `visit` with every point of `curve` in every line.
template <class Visit>
void ForEachPoint(const ComparisonChart& chart, Curve curve, Visit visit) {
  for (const ComparedLine& line : chart.lines) {
    for (const ChartPoint& point : line.*curve) visit(point);
  }
}

Range LoadRange(const ComparisonChart& chart) {
  Range loads{0, 0};
  ForEachPoint(chart, &ComparedLine::goodput,
               [&](const ChartPoint& point) { loads.max = std::max(loads.max, point.x * 1.05); });
  return loads;
}

Axis SecondsAxis(const ComparisonChart& chart, Curve curve) {
  constexpr double kLeast = 1e-4;
  Range seconds{INFINITY, 0};
  ForEachPoint(chart, curve, [&](const ChartPoint& point) {
    seconds.min = std::min(seconds.min, std::max(point.y, kLeast));
    seconds.max = std::max(seconds.max, std::max(point.y, kLeast));
  });
  if (seconds.max == 0) seconds = {0.1, 10};  // nothing to show
  return {{seconds.min / 1.25, seconds.max * 1.25}, AxisScale::kLog};
}

Axis GoodputAxis(const ComparisonChart& chart) {
  Range goodput{0, chart.capacity * 1.1};
  ForEachPoint(chart, &ComparedLine::goodput, [&](const ChartPoint& point) {
    goodput.max = std::max(goodput.max, point.y * 1.1);
  });
  if (goodput.max == 0) goodput.max = 1;
  return {.range = goodput};
}

Panel MakePanel(Canvas& canvas, int index, const Range& loads, const Axis& y) {
  return Panel(canvas, {kLefts[index], kTop, kPanelWidth, kPanelHeight}, {.range = loads}, y);
}

void DrawCurves(Canvas& canvas, Panel& panel, const ComparisonChart& chart, Curve curve) {
  for (size_t i = 0; i < chart.lines.size(); ++i) {
    std::vector<Point> points;
    for (const ChartPoint& point : chart.lines[i].*curve) points.push_back({point.x, point.y});
    canvas.SetColor(kPalette[i]);
    canvas.SetLine(2.2);
    panel.DrawLine(points);
    for (const Point& point : points) panel.DrawDot(point, kDotRadius);
  }
}

// What a server would reach that finishes every request up to its capacity.
void DrawIdeal(Canvas& canvas, Panel& panel, double capacity, const Range& loads) {
  canvas.SetColor(kIdeal);
  canvas.SetLine(1.2, kIdealDash);
  panel.DrawLine({{0, 0}, {1, capacity}, {std::max(1.0, loads.max), capacity}});
}

void DrawLegend(Canvas& canvas, const ComparisonChart& chart) {
  double x = kLefts[0];
  for (size_t i = 0; i < chart.lines.size(); ++i) {
    x += DrawLegendEntry(canvas, x, kLegendLine, kPalette[i], chart.lines[i].name) + kLegendGap;
  }
}

}  // namespace

absl::StatusOr<std::string> DrawComparison(const ComparisonChart& chart, FileKind kind) {
  RETURN_IF_ERROR(Validate(chart));
  Canvas canvas(kind, kWidth, kHeight, kScale);
  canvas.SetColor(kInk);
  canvas.Text(kLefts[0], kTitleLine, kTextSize + 4, Align::kLeft, chart.title);
  DrawLegend(canvas, chart);
  const Range loads = LoadRange(chart);
  Panel request = MakePanel(canvas, 0, loads, SecondsAxis(chart, &ComparedLine::request_p99));
  request.DrawAxes("p99 of a request, in seconds", kLoadLabel);
  DrawCurves(canvas, request, chart, &ComparedLine::request_p99);
  Panel frame = MakePanel(canvas, 1, loads, SecondsAxis(chart, &ComparedLine::first_frame_p99));
  frame.DrawAxes("p99 of the first frame, in seconds", kLoadLabel);
  DrawCurves(canvas, frame, chart, &ComparedLine::first_frame_p99);
  Panel goodput = MakePanel(canvas, 2, loads, GoodputAxis(chart));
  goodput.DrawAxes("Goodput, in requests a second (dashed: ideal)", kLoadLabel);
  DrawIdeal(canvas, goodput, chart.capacity, loads);
  DrawCurves(canvas, goodput, chart, &ComparedLine::goodput);
  return canvas.Finish();
}

}  // namespace denoise
