#include "core/sampling/samplers/plan.h"

#include <algorithm>

#include "absl/strings/str_format.h"

namespace denoise {
namespace {

std::string Number(double value) { return absl::StrFormat("%.17g", value); }

std::string ClipJson(const Clip& clip) {
  if (const StaticClip* range = std::get_if<StaticClip>(&clip)) {
    return absl::StrFormat(R"({"min": %s, "max": %s})", Number(range->min), Number(range->max));
  }
  if (const DynamicThreshold* threshold = std::get_if<DynamicThreshold>(&clip)) {
    return absl::StrFormat(R"({"dynamic_ratio": %s, "max_value": %s})", Number(threshold->ratio),
                           Number(threshold->max_value));
  }
  return "null";
}

std::string NoiseJson(const NoiseScale& noise) {
  if (const double* scale = std::get_if<double>(&noise)) return Number(*scale);
  if (const LearnedRange* range = std::get_if<LearnedRange>(&noise)) {
    return absl::StrFormat(R"({"log_variance_min": %s, "log_variance_max": %s})",
                           Number(range->log_variance_min), Number(range->log_variance_max));
  }
  return R"({"kind": "variance"})";
}

std::string MatrixJson(const SmallMatrix& matrix) {
  std::string json = "[";
  for (int row = 0; row < matrix.rows(); ++row) {
    json += row == 0 ? "[" : ", [";
    for (int column = 0; column < matrix.columns(); ++column) {
      if (column > 0) json += ", ";
      json += Number(matrix(row, column));
    }
    json += "]";
  }
  return json + "]";
}

std::string EvaluationJson(const Evaluation& evaluation) {
  return absl::StrFormat(
      R"({"timestep": %s, "input_scale": %s, "x0_from_state": %s, "x0_from_output": %s, "clip": %s, )"
      R"("update": %s, "noise_scale": %s, "alpha": %s, "sigma": %s, "ends_step": %s})",
      Number(evaluation.timestep), Number(evaluation.input_scale), Number(evaluation.x0_from_state),
      Number(evaluation.x0_from_output), ClipJson(evaluation.clip), MatrixJson(evaluation.update),
      NoiseJson(evaluation.noise), Number(evaluation.alpha), Number(evaluation.sigma),
      evaluation.ends_step ? "true" : "false");
}

}  // namespace

NoiseLevel SamplerPlan::LevelAfter(size_t e) const {
  if (e + 1 == evaluations.size()) return {final_alpha, final_sigma};
  return {evaluations[e + 1].alpha, evaluations[e + 1].sigma};
}

bool SamplerPlan::NeedsLearnedVariance() const {
  return std::any_of(evaluations.begin(), evaluations.end(), [](const Evaluation& evaluation) {
    return !std::holds_alternative<double>(evaluation.noise);
  });
}

int SamplerPlan::NumSteps() const {
  return static_cast<int>(
      std::count_if(evaluations.begin(), evaluations.end(),
                    [](const Evaluation& evaluation) { return evaluation.ends_step; }));
}

bool AddsNoise(const Evaluation& evaluation) {
  const double* scale = std::get_if<double>(&evaluation.noise);
  return scale == nullptr || *scale != 0;
}

std::string PlanToJson(const SamplerPlan& plan) {
  std::string json = absl::StrFormat(R"({"init_noise_scale": %s, "slots": %d, "evaluations": [)",
                                     Number(plan.init_noise_scale), plan.slots);
  for (size_t i = 0; i < plan.evaluations.size(); ++i) {
    json += i == 0 ? "\n  " : ",\n  ";
    json += EvaluationJson(plan.evaluations[i]);
  }
  json += absl::StrFormat("\n], \"final_alpha\": %s, \"final_sigma\": %s}\n",
                          Number(plan.final_alpha), Number(plan.final_sigma));
  return json;
}

}  // namespace denoise
