#include "client/drawing/panel.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

constexpr size_t kFewestLogTicks = 3;

}  // namespace

double TickDistance(const Range& range, int count) {
  const double rough = std::max(range.extent() / count, 1e-9);
  const double power = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough) return factor * power;
  }
  return 10 * power;
}

Panel::Panel(Canvas& canvas, const Place& place, Range x, Range y, AxisScale y_scale)
    : canvas_(canvas), place_(place), x_(x), y_(y), y_scale_(y_scale) {}

double Panel::X(double x) const { return place_.left + place_.width * (x - x_.min) / x_.extent(); }

double Panel::Scaled(double y) const { return y_scale_ == AxisScale::kLog ? std::log(y) : y; }

double Panel::Y(double y) const {
  const double inside = Scaled(std::clamp(y, y_.min, y_.max));
  const double low = Scaled(y_.min);
  return bottom() - place_.height * (inside - low) / (Scaled(y_.max) - low);
}

void Panel::DrawAxes(const std::string& title, const std::string& x_label) {
  canvas_.SetLine(1);
  const double x_tick = std::max(1.0, TickDistance(x_, 10));
  for (double x = std::ceil(x_.min / x_tick) * x_tick; x <= x_.max; x += x_tick) {
    DrawTick(X(x), place_.top, X(x), bottom());
    canvas_.Text(X(x), bottom() + 18, kTextSize, Align::kCenter, absl::StrCat(x));
  }
  for (const Tick& tick : y_scale_ == AxisScale::kLog ? LogTicks() : LinearTicks()) {
    DrawTick(place_.left, Y(tick.value), place_.left + place_.width, Y(tick.value));
    canvas_.Text(place_.left - 8, Y(tick.value) + 4, kTextSize, Align::kRight, tick.text);
  }
  canvas_.Text(place_.left, place_.top - 10, kTextSize + 1, Align::kLeft, title);
  canvas_.Text(place_.left + place_.width / 2, bottom() + 38, kTextSize, Align::kCenter, x_label);
}

void Panel::DrawLine(const std::vector<Point>& points) {
  for (const Point& point : points) cairo_line_to(canvas_.get(), X(point.x), Y(point.y));
  cairo_stroke(canvas_.get());
}

std::vector<Panel::Tick> Panel::LinearTicks() const {
  std::vector<Tick> ticks;
  const double distance = TickDistance(y_, 6);
  for (double y = y_.min; y <= y_.max + distance / 2; y += distance) {
    // Without the trace of rounding near zero.
    ticks.push_back({y, absl::StrCat(std::round(y / distance * 1e6) / 1e6 * distance)});
  }
  return ticks;
}

std::vector<Panel::Tick> Panel::LogTicks() const {
  std::vector<Tick> ticks;
  for (double power = std::pow(10, std::floor(std::log10(y_.min))); power <= y_.max; power *= 10) {
    for (const double factor : {1.0, 2.0, 5.0}) {
      const double y = factor * power;
      if (y >= y_.min && y <= y_.max) ticks.push_back({y, absl::StrCat(y)});
    }
  }
  if (ticks.size() >= kFewestLogTicks) return ticks;
  // Far less than a decade: evenly spaced round numbers.
  ticks.clear();
  const double distance = TickDistance(y_, 5);
  for (double i = std::ceil(y_.min / distance); i * distance <= y_.max; ++i) {
    ticks.push_back({i * distance, absl::StrCat(i * distance)});
  }
  return ticks;
}

void Panel::DrawTick(double x1, double y1, double x2, double y2) {
  canvas_.SetColor(kGrid);
  canvas_.Line(x1, y1, x2, y2);
  canvas_.SetColor(kInk);
}

}  // namespace denoise
