#include "core/sampling/vp_path_layout.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/sampling/path_nodes.h"
#include "core/sampling/timestep_spacing.h"

namespace denoise {
namespace {

absl::StatusOr<std::vector<double>> Timesteps(const SpacingRange& range,
                                              const SamplerOptions& options) {
  if (!options.timesteps.empty()) return options.timesteps;
  return SpaceTimesteps(range, options);
}

// DDPM and DDIM: levels straight from the schedule, and a clean image after the last step. DDIM's
// steps end at t - T/n unless the timesteps are custom or `step_to_listed_timestep` asks for the
// next one listed.
absl::StatusOr<NoisePath> LayOutDdpmOrDdim(const VpSchedule& schedule,
                                           const SamplerOptions& options) {
  const int num_train_timesteps = schedule.num_train_timesteps();
  ASSIGN_OR_RETURN(
      const std::vector<double> timesteps,
      Timesteps({num_train_timesteps, num_train_timesteps, /*leave_out_last=*/false}, options));
  const bool ddim = options.sampler == SamplerKind::kDdim;
  const bool fixed_stride = ddim && options.timesteps.empty() && !options.step_to_listed_timestep;
  const NoiseLevel end = ddim && !options.set_alpha_to_one ? schedule.LevelAt(0) : NoiseLevel{1, 0};

  NoisePath path;
  for (size_t i = 0; i < timesteps.size(); ++i) {
    const double listed = i + 1 < timesteps.size() ? timesteps[i + 1] : -1;
    const double next = fixed_stride ? timesteps[i] - num_train_timesteps / options.steps : listed;
    path.push_back(
        {timesteps[i], schedule.LevelAt(timesteps[i]), next >= 0 ? schedule.LevelAt(next) : end});
  }
  return path;
}

// The whole timestep that the network is told. The library rounds, except that it cuts off
// exponential spacing and, in DPM-Solver, cosine schedules.
double WholeTimestep(double timestep, const VpSchedule& schedule, const SamplerOptions& options) {
  const bool cosine_dpm_solver = schedule.beta_schedule() == BetaSchedule::kSquaredCosCapV2 &&
                                 options.sampler != SamplerKind::kUniPc;
  if (options.sigma_spacing == SigmaSpacing::kExponential || cosine_dpm_solver) {
    return CutOff(timestep);
  }
  return std::nearbyint(timestep);
}

absl::StatusOr<std::vector<Node>> SigmaNodes(const VpSchedule& schedule,
                                             const SamplerOptions& options) {
  ASSIGN_OR_RETURN(
      const std::vector<double> log_sigmas,
      SpaceLogSigmas({.log_max = -schedule.LevelAt(schedule.num_train_timesteps() - 1).lambda(),
                      .log_min = -schedule.LevelAt(0).lambda()},
                     options));
  std::vector<Node> nodes;
  for (double log_sigma : log_sigmas) {
    nodes.push_back({WholeTimestep(schedule.TimestepAt(log_sigma), schedule, options),
                     PreservingLevel(std::exp(log_sigma))});
  }
  return nodes;
}

// Flow matching: x = (1 - sigma) x0 + sigma epsilon, the sigmas evenly spaced and then shifted
// towards noise (Esser et al. 2024, section 5.3.2). The library's classes differ: UniPC's sigmas
// start at (all but) 1 and stop a stride above 1 / T; DPM-Solver's start at 1 - 1 / T and stop a
// stride above 0.
std::vector<Node> FlowNodes(int num_train_timesteps, const SamplerOptions& options) {
  constexpr double kLargestSigma = 1 - 1e-6;  // log(alpha) must exist
  const double least = 1.0 / num_train_timesteps;
  const double stride = (1 - least) / options.steps;
  const double first = options.sampler == SamplerKind::kUniPc ? 1 : 1 - least;
  std::vector<Node> nodes;
  for (int i = 0; i < options.steps; ++i) {
    const double even = first - i * stride;
    const double shifted = options.flow_shift * even / (1 + (options.flow_shift - 1) * even);
    const double sigma = std::min(shifted, kLargestSigma);
    nodes.push_back({CutOff(sigma * num_train_timesteps), {1 - sigma, sigma}});
  }
  return nodes;
}

// How many timesteps have log(alpha / sigma) of at least `lambda_min`.
int CountFrom(double lambda_min, const VpSchedule& schedule) {
  int count = 0;
  while (count < schedule.num_train_timesteps() && schedule.LevelAt(count).lambda() >= lambda_min) {
    ++count;
  }
  return count;
}

absl::StatusOr<std::vector<Node>> TimestepNodes(const VpSchedule& schedule,
                                                const SamplerOptions& options) {
  const int num_train_timesteps = schedule.num_train_timesteps();
  const int end = SamplerReads(options.sampler, "lambda_min_clipped")
                      ? CountFrom(options.lambda_min_clipped, schedule)
                      : num_train_timesteps;
  if (end == 0) {
    return InvalidField("lambda_min_clipped", "leaves out every timestep of the schedule");
  }
  ASSIGN_OR_RETURN(const std::vector<double> timesteps,
                   Timesteps({num_train_timesteps, end, /*leave_out_last=*/true}, options));
  std::vector<Node> nodes;
  for (double timestep : timesteps) nodes.push_back({timestep, schedule.LevelAt(timestep)});
  return nodes;
}

absl::StatusOr<std::vector<Node>> SolverNodes(const VpSchedule& schedule,
                                              const SamplerOptions& options) {
  if (options.sigma_spacing == SigmaSpacing::kTimesteps) return TimestepNodes(schedule, options);
  if (options.sigma_spacing == SigmaSpacing::kFlow) {
    return FlowNodes(schedule.num_train_timesteps(), options);
  }
  return SigmaNodes(schedule, options);
}

// The samplers in sigma, as the library has them: timesteps are fractional, levels are interpolated
// in sigma, and the other spacings run between the first and the last of the timesteps' levels.
absl::StatusOr<std::vector<Node>> FractionalNodes(const VpSchedule& schedule,
                                                  const SamplerOptions& options) {
  const int num_train_timesteps = schedule.num_train_timesteps();
  ASSIGN_OR_RETURN(std::vector<double> timesteps,
                   Timesteps({num_train_timesteps, num_train_timesteps, /*leave_out_last=*/false,
                              /*fractional=*/true},
                             options));
  std::vector<Node> nodes;
  for (double timestep : timesteps) {
    nodes.push_back({timestep, PreservingLevel(schedule.RatioAt(timestep))});
  }
  if (options.sigma_spacing == SigmaSpacing::kTimesteps) return nodes;

  ASSIGN_OR_RETURN(const std::vector<double> log_sigmas,
                   SpaceLogSigmas({.log_max = -nodes.front().level.lambda(),
                                   .log_min = -nodes.back().level.lambda()},
                                  options));
  nodes.clear();
  for (double log_sigma : log_sigmas) {
    nodes.push_back({schedule.TimestepAt(log_sigma), PreservingLevel(std::exp(log_sigma))});
  }
  return nodes;
}

NoiseLevel FinalLevel(const VpSchedule& schedule, const SamplerOptions& options) {
  if (options.final_sigma == FinalSigma::kZero) return {1, 0};
  return options.sigma_min.has_value() ? PreservingLevel(*options.sigma_min) : schedule.LevelAt(0);
}

// All but DDPM and DDIM: every step goes from one node to the next, the last to the final level.
absl::StatusOr<NoisePath> LayOutSolver(const VpSchedule& schedule, const SamplerOptions& options) {
  if (options.sigma_spacing != SigmaSpacing::kTimesteps && !options.timesteps.empty()) {
    return InvalidField("timesteps",
                        "cannot be given together with a sigma_spacing, which chooses them");
  }
  const bool solver = SamplerReads(options.sampler, "solver_order");
  ASSIGN_OR_RETURN(const std::vector<Node> nodes,
                   solver ? SolverNodes(schedule, options) : FractionalNodes(schedule, options));
  return ConnectNodes(nodes, {0, FinalLevel(schedule, options)}, options);
}

}  // namespace

absl::StatusOr<NoisePath> LayOutVpPath(const VpSchedule& schedule, const SamplerOptions& options) {
  const bool ddpm_or_ddim =
      options.sampler == SamplerKind::kDdpm || options.sampler == SamplerKind::kDdim;
  return ddpm_or_ddim ? LayOutDdpmOrDdim(schedule, options)
                      : LayOutSolver(schedule.WithSignal(), options);
}

}  // namespace denoise
