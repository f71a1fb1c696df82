#include "core/sampling/edm_path_layout.h"

#include <cmath>
#include <vector>

#include "core/base/status_macros.h"
#include "core/sampling/path_nodes.h"

namespace denoise {
namespace {

Node NodeAt(double log_sigma, const EdmSchedule& schedule) {
  return {schedule.TimestepAt(log_sigma), {1, std::exp(log_sigma)}};
}

// From sigma_max down to sigma_min (Karras et al. 2022, eq. 5), or at custom timesteps.
absl::StatusOr<std::vector<Node>> EdmNodes(const EdmSchedule& schedule,
                                           const SamplerOptions& options) {
  std::vector<Node> nodes;
  for (double timestep : options.timesteps) nodes.push_back({timestep, schedule.LevelAt(timestep)});
  if (!nodes.empty()) return nodes;
  const EdmOptions& edm = schedule.options();
  ASSIGN_OR_RETURN(
      const std::vector<double> log_sigmas,
      SpaceLogSigmas(
          {.log_max = std::log(edm.sigma_max), .log_min = std::log(edm.sigma_min), .rho = edm.rho},
          options));
  for (double log_sigma : log_sigmas) nodes.push_back(NodeAt(log_sigma, schedule));
  return nodes;
}

}  // namespace

absl::StatusOr<NoisePath> LayOutEdmPath(const EdmSchedule& schedule,
                                        const SamplerOptions& options) {
  ASSIGN_OR_RETURN(const std::vector<Node> nodes, EdmNodes(schedule, options));
  const double sigma_min = options.sigma_min.value_or(schedule.options().sigma_min);
  const bool clean = options.final_sigma == FinalSigma::kZero;
  const Node end = clean ? Node{0, {1, 0}} : NodeAt(std::log(sigma_min), schedule);
  ASSIGN_OR_RETURN(NoisePath path, ConnectNodes(nodes, end, options));
  for (Move& move : path) move.preconditioning = schedule.preconditioning();
  return path;
}

}  // namespace denoise
