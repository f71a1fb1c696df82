#include "core/sampling/samplers/path_layout.h"

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/sampling/samplers/edm_path_layout.h"
#include "core/sampling/samplers/flow_path_layout.h"
#include "core/sampling/samplers/vp_path_layout.h"

namespace denoise {
namespace {

// A network that is asked where its schedule has no signal cannot say by epsilon what x0 is, though
// the solvers take some signal there.
absl::Status CheckSignal(const NoisePath& path, const Schedule& schedule,
                         const SamplerOptions& options) {
  if (options.prediction_type != PredictionType::kEpsilon) return absl::OkStatus();
  for (const Move& move : path) {
    if (schedule.alpha(move.timestep) > 0) continue;
    return InvalidField("prediction_type",
                        absl::StrCat("epsilon says nothing of x0 at timestep ", move.timestep,
                                     ", where the schedule has no signal; start below it, or use a "
                                     "network that predicts v"));
  }
  return absl::OkStatus();
}

absl::StatusOr<NoisePath> LayOutFamily(const Schedule& schedule, const SamplerOptions& options) {
  if (const auto* edm = schedule.As<EdmSchedule>()) return LayOutEdmPath(*edm, options);
  if (const auto* flow = schedule.As<FlowSchedule>()) return LayOutFlowPath(*flow, options);
  return LayOutVpPath(*schedule.As<VpSchedule>(), options);
}

}  // namespace

absl::StatusOr<NoisePath> LayOutPath(const Schedule& schedule, const SamplerOptions& options) {
  ASSIGN_OR_RETURN(NoisePath path, LayOutFamily(schedule, options));
  RETURN_IF_ERROR(CheckSignal(path, schedule, options));
  return path;
}

}  // namespace denoise
