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

static_assert(std::size(kPalette) == kMaxChartedLines);

// In pixels, before the scale.
constexpr double kScale = 1.25;
constexpr int kWidth = 960;
constexpr int kPanelWidth = 390, kPanelHeight = 260;
constexpr int kPanelLeft[] = {60, 545};
constexpr int kLegendLine = 20;
constexpr int kTopMargin = 50, kBottomMargin = 50;
constexpr double kMarkRadius = 3;
constexpr char kStepsLabel[] = "steps done";
constexpr double kSignalDash = 0, kNoiseDash = 5;

// A noise level at which the network is evaluated, or at which the run ends.
struct Level {
  double step;   // steps done; fractional for an evaluation within a step
  double alpha;  // alpha^2 + sigma^2 = 1
  double sigma;
  bool asks_network;   // false at the end
  bool between_steps;  // whether a frame could be shown here
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

// Marks an evaluation; hollow within a step.
void DrawMark(Canvas& canvas, const Panel& panel, const Color& color, const Level& level,
              double value) {
  canvas.SetLine(1.4);
  cairo_new_path(canvas.get());
  cairo_arc(canvas.get(), panel.X(level.step), panel.Y(value), kMarkRadius, 0, 2 * M_PI);
  canvas.SetColor(level.between_steps ? color : Color{1, 1, 1});
  cairo_fill_preserve(canvas.get());
  canvas.SetColor(color);
  cairo_stroke(canvas.get());
}

// Lines from step to step, and the marks.
void DrawCurve(Canvas& canvas, Panel& panel, const Curve& curve, Value value, double dash) {
  std::vector<Point> points;
  for (const Level& level : curve.levels) {
    if (level.between_steps) points.push_back({level.step, value(level)});
  }
  canvas.SetColor(curve.color);
  canvas.SetLine(1.8, dash);
  panel.DrawLine(points);
  for (const Level& level : curve.levels) {
    if (level.asks_network) DrawMark(canvas, panel, curve.color, level, value(level));
  }
}

// A line for each plan, above the panels.
void DrawLegend(Canvas& canvas, const std::vector<Curve>& curves) {
  double y = kLegendLine;
  for (const Curve& curve : curves) {
    DrawLegendEntry(canvas, kPanelLeft[0], y, curve.color, curve.name);
    y += kLegendLine;
  }
}

std::vector<Curve> Curves(std::span<const NamedPlan> plans) {
  std::vector<Curve> curves;
  for (const NamedPlan& named : plans) {
    curves.push_back({kPalette[curves.size()], named.name, Levels(named.plan)});
  }
  return curves;
}

Range StepsRange(const std::vector<Curve>& curves) {
  double most = 1;
  for (const Curve& curve : curves) most = std::max(most, curve.levels.back().step);
  return {0, most};
}

Panel::Place PlaceOf(int panel, int top) {
  return {static_cast<double>(kPanelLeft[panel]), static_cast<double>(top), kPanelWidth,
          kPanelHeight};
}

absl::Status Validate(std::span<const NamedPlan> plans) {
  if (plans.empty() || plans.size() > kMaxChartedLines) {
    return absl::InvalidArgumentError(
        absl::StrCat("a chart shows 1 to ", kMaxChartedLines, " plans, not ", plans.size()));
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

  const Axis steps{.range = StepsRange(curves), .whole_numbers = true};
  Panel levels(canvas, PlaceOf(0, top), steps, {.range = {0, 1}});
  Panel log_snr(canvas, PlaceOf(1, top), steps, {.range = LogSnrRange(curves)});
  levels.DrawAxes("Signal α (solid) and noise σ (dashed), α² + σ² = 1", kStepsLabel);
  log_snr.DrawAxes("log-SNR = log(α² / σ²);  ● network evaluation, ○ within a step", kStepsLabel);
  for (const Curve& curve : curves) {
    DrawCurve(canvas, levels, curve, Signal, kSignalDash);
    DrawCurve(canvas, levels, curve, Noise, kNoiseDash);
    DrawCurve(canvas, log_snr, curve, LogSnr, kSignalDash);
  }
  return canvas.Finish();
}

}  // namespace denoise
