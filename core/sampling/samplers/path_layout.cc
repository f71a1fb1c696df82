#include "core/sampling/samplers/path_layout.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/sampling/samplers/path_nodes.h"
#include "core/sampling/schedules/linspace.h"

namespace denoise {
namespace {

Node NodeAt(double log_sigma, const EdmSchedule& schedule) {
  return {schedule.TimestepAt(log_sigma), {1, std::exp(log_sigma)}};
}

SigmaRange WholeRange(const EdmOptions& edm) {
  return {.log_max = std::log(edm.sigma_max), .log_min = std::log(edm.sigma_min), .rho = edm.rho};
}

// Sigmas from sigma_max down to sigma_min.
absl::StatusOr<std::vector<double>> SpaceOver(const EdmSchedule& schedule,
                                              const SamplerOptions& options) {
  return SpaceLogSigmas(WholeRange(schedule.options()), options);
}

// Every n-th of the levels that a consistency model was trained at, noisiest first.
absl::StatusOr<std::vector<double>> EveryFewOf(const EdmSchedule& schedule,
                                               const SamplerOptions& options) {
  SamplerOptions trained = options;
  trained.steps = schedule.num_train_timesteps();
  ASSIGN_OR_RETURN(const std::vector<double> levels, SpaceOver(schedule, trained));
  const int stride = trained.steps / options.steps;
  std::vector<double> log_sigmas;
  for (int i = 0; i < options.steps; ++i) log_sigmas.push_back(levels[i * stride]);
  return log_sigmas;
}

// Nodes at custom timesteps or sigmas, or spaced.
absl::StatusOr<std::vector<Node>> EdmNodes(const EdmSchedule& schedule,
                                           const SamplerOptions& options) {
  std::vector<Node> nodes;
  for (double timestep : options.timesteps) nodes.push_back({timestep, schedule.LevelAt(timestep)});
  if (!nodes.empty()) return nodes;
  RETURN_IF_ERROR(CheckSigmas(WholeRange(schedule.options()), options));
  for (double sigma : options.sigmas) nodes.push_back(NodeAt(std::log(sigma), schedule));
  if (!nodes.empty()) return nodes;
  const auto log_sigmas_of = schedule.options().consistency_model ? EveryFewOf : SpaceOver;
  ASSIGN_OR_RETURN(const std::vector<double> log_sigmas, log_sigmas_of(schedule, options));
  for (double log_sigma : log_sigmas) nodes.push_back(NodeAt(log_sigma, schedule));
  return nodes;
}

// A consistency model's x0 is an image at sigma_min.
Node EndOf(const EdmSchedule& schedule, const SamplerOptions& options) {
  const bool clean =
      options.final_sigma == FinalSigma::kZero && !schedule.options().consistency_model;
  if (clean) return {0, {1, 0}};
  const double sigma_min = options.sigma_min.value_or(schedule.options().sigma_min);
  return {schedule.TimestepAt(std::log(sigma_min)), {1, sigma_min}};
}

absl::StatusOr<NoisePath> LayOutEdmPath(const EdmSchedule& schedule,
                                        const SamplerOptions& options) {
  ASSIGN_OR_RETURN(const std::vector<Node> nodes, EdmNodes(schedule, options));
  ASSIGN_OR_RETURN(NoisePath path, ConnectNodes(nodes, EndOf(schedule, options), options));
  for (Move& move : path) move.preconditioning = schedule.preconditioning();
  if (options.sampler != SamplerKind::kHeun) return path;
  return AddChurn(path, options, [&](double log_sigma) { return NodeAt(log_sigma, schedule); });
}

// Evenly spaced down from pure noise, then shifted. As in the library, a static shift moves the
// last one twice, because it is also part of the schedule.
std::vector<double> ShiftedSigmas(const FlowOptions& flow, const SamplerOptions& options) {
  const double lowest = 1.0 / flow.num_train_timesteps;
  const double last = flow.use_dynamic_shifting ? lowest : Shifted(lowest, options.flow_shift);
  std::vector<double> sigmas = Linspace(1, last, options.steps);
  for (double& sigma : sigmas) sigma = Shifted(sigma, options.flow_shift);
  return sigmas;
}

// Stretches the signal levels so that the last sigma is `terminal`.
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

// Without signal, epsilon does not determine x0, although the solvers assume some signal there.
absl::Status CheckSignal(const NoisePath& path, const Schedule& schedule,
                         const SamplerOptions& options) {
  if (options.prediction_type != PredictionType::kEpsilon) return absl::OkStatus();
  for (const Move& move : path) {
    if (schedule.alpha(move.timestep) > 0) continue;
    return InvalidField("prediction_type",
                        absl::StrCat("epsilon says nothing about x0 at timestep ", move.timestep,
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
