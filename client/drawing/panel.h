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

// 1, 2 or 5 times a power of ten, so that about `count` ticks fill the range.
double TickDistance(const Range& range, int count);

class Panel {
 public:
  struct Place {
    double left, top, width, height;  // without the labels around it
  };

  // `x` and `y` are the ranges of the axes. Neither is empty; a logarithmic y is above 0.
  Panel(Canvas& canvas, const Place& place, Range x, Range y,
        AxisScale y_scale = AxisScale::kLinear);

  // Labels x with whole numbers and the name `x_label`.
  void DrawAxes(const std::string& title, const std::string& x_label);
  // Draws a line through `points` in the canvas's current color and width. Points outside the range
  // of y are drawn on the edge.
  void DrawLine(const std::vector<Point>& points);

  double X(double x) const;
  double Y(double y) const;
  double bottom() const { return place_.top + place_.height; }

 private:
  struct Tick {
    double value;
    std::string text;
  };
  std::vector<Tick> LinearTicks() const;
  std::vector<Tick> LogTicks() const;
  void DrawTick(double x1, double y1, double x2, double y2);
  double Scaled(double y) const;

  Canvas& canvas_;
  const Place place_;
  const Range x_, y_;
  const AxisScale y_scale_;
};

}  // namespace denoise
