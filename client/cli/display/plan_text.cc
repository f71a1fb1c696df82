#include "client/cli/display/plan_text.h"

#include <cmath>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/display/text.h"

namespace denoise {
namespace {

// Full blocks for signal and light ones for noise, by their share of the variance.
std::string LevelBar(double alpha, double sigma) {
  constexpr int kCells = 24;
  const double signal = alpha * alpha / (alpha * alpha + sigma * sigma);
  const int full = static_cast<int>(std::lround(signal * kCells));
  std::string bar;
  for (int cell = 0; cell < kCells; ++cell) bar += cell < full ? "█" : "░";
  return bar;
}

std::string NoiseText(const NoiseScale& noise) {
  const double* scale = std::get_if<double>(&noise);
  if (scale == nullptr) return "learned";
  return *scale == 0 ? "-" : absl::StrFormat("%.4g", *scale);
}

std::string TableRow(const std::string& number, const std::string& timestep, double alpha,
                     double sigma, const std::string& noise) {
  return absl::StrFormat("%5s  %9s  %8.5f  %8.5f  %8.3f  %9s  %s\n", number, timestep, alpha, sigma,
                         2 * std::log(alpha / sigma), noise, LevelBar(alpha, sigma));
}

}  // namespace

std::string PlanHeadline(const ShownPlan& shown) {
  const SamplerPlan& plan = shown.plan;
  return absl::StrCat(shown.sampler, ": ", Plural(plan.NumSteps(), "step"), ", ",
                      Plural(plan.evaluations.size(), "network evaluation"), ", ",
                      Plural(plan.slots, "slot"));
}

std::string PlanTable(const ShownPlan& shown) {
  std::string table = PlanHeadline(shown) + "\n";
  if (!shown.model.empty()) absl::StrAppend(&table, "on ", shown.model, "\n");
  table += "\n";
  absl::StrAppendFormat(&table, "%5s  %9s  %8s  %8s  %8s  %9s  %s\n", "eval", "timestep", "alpha",
                        "sigma", "log-SNR", "noise", "█ signal ░ noise");
  const SamplerPlan& plan = shown.plan;
  for (size_t i = 0; i < plan.evaluations.size(); ++i) {
    const Evaluation& evaluation = plan.evaluations[i];
    table += TableRow(absl::StrCat(i + 1), absl::StrFormat("%.6g", evaluation.timestep),
                      evaluation.alpha, evaluation.sigma, NoiseText(evaluation.noise));
  }
  return table + TableRow("end", "", plan.final_alpha, plan.final_sigma, "");
}

}  // namespace denoise
