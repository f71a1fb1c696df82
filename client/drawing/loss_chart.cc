#include <algorithm>
#include <cmath>
#include <vector>

#include "client/drawing/canvas.h"
#include "client/drawing/drawing.h"
#include "client/drawing/panel.h"

namespace denoise {
namespace {

constexpr double kLeft = 60, kTop = 34, kRight = 20, kBottom = 48;
constexpr Color kFaint{0.70, 0.82, 0.90};
// The time constant of the average: this fraction of the points, but at least this many.
constexpr double kSmoothedPart = 0.02;
constexpr double kFewestSmoothed = 5;

std::vector<Point> Drawable(std::span<const LossPoint> points) {
  std::vector<Point> drawable;
  for (const LossPoint& point : points) {
    if (std::isfinite(point.loss) && point.loss > 0) {
      drawable.push_back({static_cast<double>(point.step), point.loss});
    }
  }
  return drawable;
}

// Averages the logarithm, as it is drawn; the first points are weighted as if they were all.
std::vector<Point> Smoothed(const std::vector<Point>& points) {
  const double window =
      std::max(kFewestSmoothed, kSmoothedPart * static_cast<double>(points.size()));
  std::vector<Point> smoothed;
  double sum = 0, weight = 0;
  for (const Point& point : points) {
    sum = sum * (1 - 1 / window) + std::log(point.y);
    weight = weight * (1 - 1 / window) + 1;
    smoothed.push_back({point.x, std::exp(sum / weight)});
  }
  return smoothed;
}

Range ValueRange(const std::vector<Point>& points) {
  const auto [low, high] = std::minmax_element(
      points.begin(), points.end(), [](const Point& a, const Point& b) { return a.y < b.y; });
  return {low->y / 1.1, high->y * 1.1};
}

}  // namespace

absl::StatusOr<std::string> DrawLoss(std::span<const LossPoint> points, const std::string& title,
                                     FileKind kind, LossChartSize size) {
  const std::vector<Point> drawable = Drawable(points);
  if (drawable.empty()) return absl::InvalidArgumentError("there is no loss to draw");
  Canvas canvas(kind, size.width, size.height);
  const Range steps{0, std::max(drawable.back().x, 1.0)};
  Panel panel(canvas, {kLeft, kTop, size.width - kLeft - kRight, size.height - kTop - kBottom},
              {.range = steps, .whole_numbers = true}, {ValueRange(drawable), AxisScale::kLog});
  panel.DrawAxes(title, "steps");
  canvas.SetColor(kFaint);
  canvas.SetLine(1);
  panel.DrawLine(drawable);
  canvas.SetColor(kPalette[0]);
  canvas.SetLine(2);
  panel.DrawLine(Smoothed(drawable));
  return canvas.Finish();
}

}  // namespace denoise
