#include "client/drawing/panel.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

constexpr size_t kFewestLogTicks = 3;
constexpr double kMostFilledExtent = 1e4;  // a wider logarithmic axis has powers of ten only

}  // namespace

double TickDistance(const Range& range, int count) {
  const double rough = std::max(range.extent() / count, 1e-9);
  const double power = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough) return factor * power;
  }
  return 10 * power;
}

double Axis::Fraction(double value) const {
  const double inside = std::clamp(value, range.min, range.max);
  if (scale == AxisScale::kLinear) return (inside - range.min) / range.extent();
  return std::log(inside / range.min) / std::log(range.max / range.min);
}

double DrawLegendEntry(Canvas& canvas, double x, double y, const Color& color,
                       const std::string& name) {
  constexpr double kSample = 30, kGap = 8;
  canvas.SetColor(color);
  canvas.SetLine(3);
  canvas.Line(x, y - 4, x + kSample, y - 4);
  canvas.SetColor(kInk);
  canvas.Text(x + kSample + kGap, y, kTextSize, Align::kLeft, name);
  return kSample + kGap + canvas.TextWidth(kTextSize, name);
}

Panel::Panel(Canvas& canvas, const Place& place, const Axis& x, const Axis& y)
    : canvas_(canvas), place_(place), x_(x), y_(y) {}

double Panel::X(double x) const { return place_.left + place_.width * x_.Fraction(x); }

double Panel::Y(double y) const { return bottom() - place_.height * y_.Fraction(y); }

void Panel::DrawAxes(const std::string& title, const std::string& x_label) {
  canvas_.SetLine(1);
  for (const Tick& tick : Ticks(x_, 10)) {
    DrawTick(X(tick.value), place_.top, X(tick.value), bottom());
    canvas_.Text(X(tick.value), bottom() + 18, kTextSize, Align::kCenter, tick.text);
  }
  for (const Tick& tick : Ticks(y_, 6)) {
    DrawTick(place_.left, Y(tick.value), place_.left + place_.width, Y(tick.value));
    canvas_.Text(place_.left - 8, Y(tick.value) + 4, kTextSize, Align::kRight, tick.text);
  }
  canvas_.Text(place_.left, place_.top - 10, kTextSize + 1, Align::kLeft, title);
  canvas_.Text(place_.left + place_.width / 2, bottom() + 38, kTextSize, Align::kCenter, x_label);
}

void Panel::DrawLine(const std::vector<Point>& points) {
  cairo_set_line_join(canvas_.get(), CAIRO_LINE_JOIN_ROUND);  // no spikes
  for (const Point& point : points) cairo_line_to(canvas_.get(), X(point.x), Y(point.y));
  cairo_stroke(canvas_.get());
}

void Panel::DrawDot(const Point& point, double radius) {
  cairo_new_path(canvas_.get());
  cairo_arc(canvas_.get(), X(point.x), Y(point.y), radius, 0, 2 * M_PI);
  cairo_fill(canvas_.get());
}

void Panel::FillBelow(const std::vector<Point>& points) {
  if (points.empty()) return;
  cairo_move_to(canvas_.get(), X(points.front().x), bottom());
  for (const Point& point : points) cairo_line_to(canvas_.get(), X(point.x), Y(point.y));
  cairo_line_to(canvas_.get(), X(points.back().x), bottom());
  cairo_fill(canvas_.get());
}

void Panel::Fill(const Range& x, const Range& y) {
  cairo_rectangle(canvas_.get(), X(x.min), Y(y.max), X(x.max) - X(x.min), Y(y.min) - Y(y.max));
  cairo_fill(canvas_.get());
}

std::vector<Panel::Tick> Panel::Ticks(const Axis& axis, int count) {
  return axis.scale == AxisScale::kLog ? LogTicks(axis) : LinearTicks(axis, count);
}

std::vector<Panel::Tick> Panel::LinearTicks(const Axis& axis, int count) {
  std::vector<Tick> ticks;
  const double least = axis.whole_numbers ? 1 : 0;
  const double distance = std::max(TickDistance(axis.range, count), least);
  const double end = axis.range.max / distance + 1e-6;  // despite rounding
  for (double i = std::ceil(axis.range.min / distance - 1e-6); i <= end; ++i) {
    const double value = i * distance + 0.0;  // no negative zero
    ticks.push_back({value, absl::StrCat(value)});
  }
  return ticks;
}

std::vector<Panel::Tick> Panel::LogTicks(const Axis& axis) {
  std::vector<Tick> ticks;
  const auto [min, max] = axis.range;
  for (double power = std::pow(10, std::floor(std::log10(min))); power <= max; power *= 10) {
    for (const double factor : {1.0, 2.0, 5.0}) {
      if (factor > 1 && max > kMostFilledExtent * min) break;
      const double value = factor * power;
      if (value >= min && value <= max) ticks.push_back({value, absl::StrCat(value)});
    }
  }
  // Far less than a decade: evenly spaced round numbers.
  return ticks.size() >= kFewestLogTicks ? ticks : LinearTicks(axis, 5);
}

void Panel::DrawTick(double x1, double y1, double x2, double y2) {
  canvas_.SetColor(kGrid);
  canvas_.Line(x1, y1, x2, y2);
  canvas_.SetColor(kInk);
}

}  // namespace denoise
