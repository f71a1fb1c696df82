// Plans as pictures: what becomes of signal and noise, step by step.
#pragma once

#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "client/drawing/file_kind.h"
#include "core/sampling/samplers/plan.h"

namespace denoise {

struct NamedPlan {
  std::string name;  // for the legend
  SamplerPlan plan;
};

// More could not be told apart.
inline constexpr int kMaxChartedPlans = 8;

// A chart of the levels of signal and noise and one of log-SNR = log(alpha^2 / sigma^2), a color for
// each plan, a mark for each network evaluation. Levels are those of the image scaled so that
// alpha^2 + sigma^2 = 1, in which plans of all kinds compare. InvalidArgument unless there are 1 to
// kMaxChartedPlans plans, each with an evaluation.
absl::StatusOr<std::string> DrawPlans(std::span<const NamedPlan> plans, FileKind kind);

}  // namespace denoise
