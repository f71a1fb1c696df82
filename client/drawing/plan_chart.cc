#include "client/drawing/plan_chart.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/drawing/canvas.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

// Okabe and Ito 2008: told apart by color-blind people, too.
constexpr Color kColors[kMaxChartedPlans] = {
    {0.00, 0.45, 0.70}, {0.84, 0.37, 0.00}, {0.00, 0.62, 0.45}, {0.80, 0.47, 0.65},
    {0.90, 0.62, 0.00}, {0.34, 0.71, 0.91}, {0.35, 0.35, 0.35}, {0.55, 0.34, 0.16},
};
constexpr Color kInk{0.15, 0.15, 0.15};
constexpr Color kGrid{0.88, 0.88, 0.88};

// In pixels, before the scale.
constexpr double kScale = 1.25;
constexpr int kWidth = 960;
constexpr int kPanelWidth = 390, kPanelHeight = 260;
constexpr int kPanelLeft[] = {60, 545};
constexpr int kLegendLine = 20;
constexpr int kTopMargin = 50, kBottomMargin = 50;
constexpr double kTextSize = 12;
constexpr double kMarkRadius = 3;
constexpr double kSignalDash = 0, kNoiseDash = 5;

// The image where the network is asked, or where the run ends.
struct Level {
  double step;   // steps done; an evaluation within a step stands at a fraction
  double alpha;  // alpha^2 + sigma^2 = 1
  double sigma;
  bool asks_network;   // false at the end
  bool between_steps;  // whether a picture could be shown here
};

double Signal(const Level& level) { return level.alpha; }
double Noise(const Level& level) { return level.sigma; }
double LogSnr(const Level& level) { return 2 * std::log(level.alpha / level.sigma); }
using Value = double (*)(const Level&);

Level MakeLevel(double step, double alpha, double sigma, bool asks_network) {
  const double norm = std::hypot(alpha, sigma);
  return {step, alpha / norm, sigma / norm, asks_network, step == std::floor(step)};
}

std::vector<Level> Levels(const SamplerPlan& plan) {
  std::vector<Level> levels;
  int steps = 0;
  for (auto first = plan.evaluations.begin(); first != plan.evaluations.end(); ++steps) {
    auto last = first;
    while (!last->ends_step && last + 1 != plan.evaluations.end()) ++last;
    const double evaluations = static_cast<double>(last + 1 - first);
    for (auto it = first; it <= last; ++it) {
      levels.push_back(MakeLevel(steps + (it - first) / evaluations, it->alpha, it->sigma, true));
    }
    first = last + 1;
  }
  levels.push_back(MakeLevel(steps, plan.final_alpha, plan.final_sigma, false));
  return levels;
}

struct Curve {
  Color color;
  std::string name;
  std::vector<Level> levels;
};

struct Range {
  double min, max;
};

// 1, 2 or 5 times a power of ten, so that about `count` of them fill the range.
double TickDistance(const Range& range, int count) {
  const double rough = std::max((range.max - range.min) / count, 1e-9);
  const double power = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough) return factor * power;
  }
  return 10 * power;
}

Range LogSnrRange(const std::vector<Curve>& curves) {
  Range range{-1, 1};
  for (const Curve& curve : curves) {
    for (const Level& level : curve.levels) {
      const double value = LogSnr(level);
      if (!std::isfinite(value)) continue;
      range.min = std::min(range.min, value);
      range.max = std::max(range.max, value);
    }
  }
  const double tick = TickDistance(range, 6);
  return {std::floor(range.min / tick) * tick, (std::floor(range.max / tick) + 1) * tick};
}

// A rectangle with axes.
class Panel {
 public:
  Panel(Canvas& canvas, double left, double top, Range steps, Range values)
      : canvas_(canvas), left_(left), top_(top), steps_(steps), values_(values) {}

  void DrawAxes(const std::string& title) {
    canvas_.SetLine(1);
    const double step_tick = std::max(1.0, TickDistance(steps_, 10));
    for (double step = 0; step <= steps_.max; step += step_tick) {
      DrawTick(X(step), top_, X(step), Bottom());
      canvas_.Text(X(step), Bottom() + 18, kTextSize, Align::kCenter, absl::StrCat(step));
    }
    const double tick = TickDistance(values_, 6);
    for (double value = values_.min; value <= values_.max + tick / 2; value += tick) {
      DrawTick(left_, Y(value), left_ + kPanelWidth, Y(value));
      canvas_.Text(left_ - 8, Y(value) + 4, kTextSize, Align::kRight, TickText(value, tick));
    }
    canvas_.Text(left_, top_ - 10, kTextSize + 1, Align::kLeft, title);
    canvas_.Text(left_ + kPanelWidth / 2.0, Bottom() + 38, kTextSize, Align::kCenter, "steps done");
  }

  // Lines from step to step; marks where the network is asked, hollow ones within a step.
  void DrawCurve(const Curve& curve, Value value, double dash) {
    canvas_.SetColor(curve.color);
    canvas_.SetLine(1.8, dash);
    for (const Level& level : curve.levels) {
      if (level.between_steps) cairo_line_to(canvas_.get(), X(level.step), Y(value(level)));
    }
    cairo_stroke(canvas_.get());
    for (const Level& level : curve.levels) {
      if (level.asks_network) DrawMark(curve.color, X(level.step), Y(value(level)), level);
    }
  }

 private:
  double Bottom() const { return top_ + kPanelHeight; }
  double X(double step) const { return left_ + kPanelWidth * (step - steps_.min) / Extent(steps_); }
  // What is infinite lies on the edge.
  double Y(double value) const {
    const double inside = std::clamp(value, values_.min, values_.max);
    return Bottom() - kPanelHeight * (inside - values_.min) / Extent(values_);
  }
  static double Extent(const Range& range) { return range.max - range.min; }

  // Without the trace of rounding near zero.
  static std::string TickText(double value, double tick) {
    return absl::StrCat(std::round(value / tick * 1e6) / 1e6 * tick);
  }

  void DrawTick(double x1, double y1, double x2, double y2) {
    canvas_.SetColor(kGrid);
    canvas_.Line(x1, y1, x2, y2);
    canvas_.SetColor(kInk);
  }

  void DrawMark(const Color& color, double x, double y, const Level& level) {
    canvas_.SetLine(1.4);
    cairo_new_path(canvas_.get());
    cairo_arc(canvas_.get(), x, y, kMarkRadius, 0, 2 * M_PI);
    canvas_.SetColor(level.between_steps ? color : Color{1, 1, 1});
    cairo_fill_preserve(canvas_.get());
    canvas_.SetColor(color);
    cairo_stroke(canvas_.get());
  }

  Canvas& canvas_;
  const double left_, top_;
  const Range steps_, values_;
};

// A line for each plan, above the panels.
void DrawLegend(Canvas& canvas, const std::vector<Curve>& curves) {
  constexpr int kSample = 30;
  double y = kLegendLine;
  for (const Curve& curve : curves) {
    canvas.SetColor(curve.color);
    canvas.SetLine(3);
    canvas.Line(kPanelLeft[0], y - 4, kPanelLeft[0] + kSample, y - 4);
    canvas.SetColor(kInk);
    canvas.Text(kPanelLeft[0] + kSample + 8, y, kTextSize, Align::kLeft, curve.name);
    y += kLegendLine;
  }
}

std::vector<Curve> Curves(std::span<const NamedPlan> plans) {
  std::vector<Curve> curves;
  for (const NamedPlan& named : plans) {
    curves.push_back({kColors[curves.size()], named.name, Levels(named.plan)});
  }
  return curves;
}

Range StepsRange(const std::vector<Curve>& curves) {
  double most = 1;
  for (const Curve& curve : curves) most = std::max(most, curve.levels.back().step);
  return {0, most};
}

absl::Status Validate(std::span<const NamedPlan> plans) {
  if (plans.empty() || plans.size() > kMaxChartedPlans) {
    return absl::InvalidArgumentError(
        absl::StrCat("a chart shows 1 to ", kMaxChartedPlans, " plans, not ", plans.size()));
  }
  for (const NamedPlan& named : plans) {
    if (named.plan.evaluations.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("the plan ", named.name, " is empty"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> DrawPlans(std::span<const NamedPlan> plans, FileKind kind) {
  RETURN_IF_ERROR(Validate(plans));
  const std::vector<Curve> curves = Curves(plans);
  const int top = kTopMargin + kLegendLine * static_cast<int>(curves.size());
  Canvas canvas(kind, kWidth, top + kPanelHeight + kBottomMargin, kScale);
  DrawLegend(canvas, curves);

  const Range steps = StepsRange(curves);
  Panel levels(canvas, kPanelLeft[0], top, steps, {0, 1});
  Panel log_snr(canvas, kPanelLeft[1], top, steps, LogSnrRange(curves));
  levels.DrawAxes("Signal α (solid) and noise σ (dashed), α² + σ² = 1");
  log_snr.DrawAxes("log-SNR = log(α² / σ²);  ● network evaluation, ○ within a step");
  for (const Curve& curve : curves) {
    levels.DrawCurve(curve, Signal, kSignalDash);
    levels.DrawCurve(curve, Noise, kNoiseDash);
    log_snr.DrawCurve(curve, LogSnr, kSignalDash);
  }
  return canvas.Finish();
}

}  // namespace denoise
