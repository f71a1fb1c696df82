#include "core/sampling/samplers/flow_path_layout.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/base/status_macros.h"
#include "core/sampling/samplers/path_nodes.h"
#include "core/sampling/schedules/linspace.h"

namespace denoise {
namespace {

// Evenly down from pure noise, then shifted. As in the library a static shift moves the last of
// them twice: it counts as a part of the schedule, too.
std::vector<double> ShiftedSigmas(const FlowOptions& flow, const SamplerOptions& options) {
  const double lowest = 1.0 / flow.num_train_timesteps;
  const double last = flow.use_dynamic_shifting ? lowest : Shifted(lowest, options.flow_shift);
  std::vector<double> sigmas = Linspace(1, last, options.steps);
  for (double& sigma : sigmas) sigma = Shifted(sigma, options.flow_shift);
  return sigmas;
}

// Stretches the levels of signal so that the last sigma is `terminal`.
void StretchTo(double terminal, std::vector<double>& sigmas) {
  const double stretch = (1 - terminal) / (1 - sigmas.back());
  for (double& sigma : sigmas) sigma = 1 - (1 - sigma) * stretch;
}

absl::StatusOr<std::vector<double>> FlowSigmas(const FlowOptions& flow,
                                               const SamplerOptions& options) {
  std::vector<double> sigmas = ShiftedSigmas(flow, options);
  if (flow.shift_terminal.value_or(0) > 0 && options.steps > 1) {
    StretchTo(*flow.shift_terminal, sigmas);
  }
  if (options.sigma_spacing == SigmaSpacing::kFlow) return sigmas;
  ASSIGN_OR_RETURN(sigmas, SpaceLogSigmas({.log_max = std::log(sigmas.front()),
                                           .log_min = std::log(sigmas.back())},
                                          options));
  for (double& log_sigma : sigmas) log_sigma = std::exp(log_sigma);
  return sigmas;
}

}  // namespace

absl::StatusOr<NoisePath> LayOutFlowPath(const FlowSchedule& schedule,
                                         const SamplerOptions& options) {
  std::vector<double> timesteps = options.timesteps;
  if (timesteps.empty()) {
    ASSIGN_OR_RETURN(const std::vector<double> sigmas, FlowSigmas(schedule.options(), options));
    for (double sigma : sigmas) timesteps.push_back(schedule.TimestepOfSigma(sigma));
  }
  const bool solver = SamplerReads(options.sampler, "solver_order");
  const double greatest = solver ? kGreatestSolverSigma : 1;
  std::vector<Node> nodes;
  for (double timestep : timesteps) {
    const double sigma = std::min(schedule.LevelAt(timestep).sigma, greatest);
    nodes.push_back({timestep, {1 - sigma, sigma}});
  }
  return ConnectNodes(nodes, {0, {1, 0}}, options);
}

}  // namespace denoise
