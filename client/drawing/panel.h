// A rectangle with axes, and lines in it. Internal to client/drawing.
#pragma once

#include <string>
#include <vector>

#include "client/drawing/canvas.h"

namespace denoise {

inline constexpr Color kInk{0.15, 0.15, 0.15};
inline constexpr Color kGrid{0.88, 0.88, 0.88};
inline constexpr double kTextSize = 12;

// Okabe and Ito 2008: distinguishable for color-blind people.
inline constexpr Color kPalette[] = {
    {0.00, 0.45, 0.70}, {0.84, 0.37, 0.00}, {0.00, 0.62, 0.45}, {0.80, 0.47, 0.65},
    {0.90, 0.62, 0.00}, {0.34, 0.71, 0.91}, {0.35, 0.35, 0.35}, {0.55, 0.34, 0.16},
};

struct Range {
  double min, max;

  double extent() const { return max - min; }
};

struct Point {
  double x, y;
};

enum class AxisScale { kLinear, kLog };

struct Axis {
  Range range;  // not empty; above 0 if it is logarithmic
  AxisScale scale = AxisScale::kLinear;
  bool whole_numbers = false;  // no ticks in between

  // Where `value` is between the ends of the range, from 0 to 1; one outside is at the nearer end.
  double Fraction(double value) const;
};

// 1, 2 or 5 times a power of ten, so that about `count` ticks fill the range.
double TickDistance(const Range& range, int count);

// Draws a line of `color` and `name` beside it, with the baseline at `y`. Returns their width.
double DrawLegendEntry(Canvas& canvas, double x, double y, const Color& color,
                       const std::string& name);

class Panel {
 public:
  struct Place {
    double left, top, width, height;  // without the labels around it
  };

  Panel(Canvas& canvas, const Place& place, const Axis& x, const Axis& y);

  void DrawAxes(const std::string& title, const std::string& x_label);
  // Draws a line through `points` in the canvas's current color and width. Points outside the
  // ranges are drawn on the edge.
  void DrawLine(const std::vector<Point>& points);
  // The same for a dot, for the area between such a line and the bottom, and for a rectangle.
  void DrawDot(const Point& point, double radius);
  void FillBelow(const std::vector<Point>& points);
  void Fill(const Range& x, const Range& y);

  double X(double x) const;
  double Y(double y) const;
  double bottom() const { return place_.top + place_.height; }

 private:
  struct Tick {
    double value;
    std::string text;
  };
  // About `count` of them.
  static std::vector<Tick> Ticks(const Axis& axis, int count);
  static std::vector<Tick> LinearTicks(const Axis& axis, int count);
  static std::vector<Tick> LogTicks(const Axis& axis);
  void DrawTick(double x1, double y1, double x2, double y2);

  Canvas& canvas_;
  const Place place_;
  const Axis x_, y_;
};

}  // namespace denoise
