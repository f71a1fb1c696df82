#include "core/sampling/samplers/edm_path_layout.h"

#include <cmath>
#include <vector>

#include "core/base/status_macros.h"
#include "core/sampling/samplers/path_nodes.h"

namespace denoise {
namespace {

Node NodeAt(double log_sigma, const EdmSchedule& schedule) {
  return {schedule.TimestepAt(log_sigma), {1, std::exp(log_sigma)}};
}

SigmaRange WholeRange(const EdmOptions& edm) {
  return {.log_max = std::log(edm.sigma_max), .log_min = std::log(edm.sigma_min), .rho = edm.rho};
}

// From sigma_max down to sigma_min.
absl::StatusOr<std::vector<double>> SpaceOver(const EdmSchedule& schedule,
                                              const SamplerOptions& options) {
  return SpaceLogSigmas(WholeRange(schedule.options()), options);
}

// Every so many of the levels that a consistency model was trained at, the noisiest first.
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

// Spaced, or at custom timesteps or sigmas.
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

}  // namespace

absl::StatusOr<NoisePath> LayOutEdmPath(const EdmSchedule& schedule,
                                        const SamplerOptions& options) {
  ASSIGN_OR_RETURN(const std::vector<Node> nodes, EdmNodes(schedule, options));
  ASSIGN_OR_RETURN(NoisePath path, ConnectNodes(nodes, EndOf(schedule, options), options));
  for (Move& move : path) move.preconditioning = schedule.preconditioning();
  if (options.sampler != SamplerKind::kHeun) return path;
  return AddChurn(path, options, [&](double log_sigma) { return NodeAt(log_sigma, schedule); });
}

}  // namespace denoise
