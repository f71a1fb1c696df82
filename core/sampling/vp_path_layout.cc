#include "core/sampling/vp_path_layout.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/sampling/flow_schedule.h"
#include "core/sampling/linspace.h"
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
  const bool cosine_dpm_solver =
      schedule.options().beta_schedule == BetaSchedule::kSquaredCosCapV2 &&
      options.sampler != SamplerKind::kUniPc;
  if (options.sigma_spacing == SigmaSpacing::kExponential || cosine_dpm_solver) {
    return CutOff(timestep);
  }
  return std::nearbyint(timestep);
}

SigmaRange WholeRange(const VpSchedule& schedule) {
  return {.log_max = -schedule.LevelAt(schedule.timestep_max()).lambda(),
          .log_min = -schedule.LevelAt(schedule.timestep_min()).lambda()};
}

absl::StatusOr<std::vector<Node>> SigmaNodes(const VpSchedule& schedule,
                                             const SamplerOptions& options) {
  ASSIGN_OR_RETURN(const std::vector<double> log_sigmas,
                   SpaceLogSigmas(WholeRange(schedule), options));
  std::vector<Node> nodes;
  for (double log_sigma : log_sigmas) {
    nodes.push_back({WholeTimestep(schedule.TimestepAt(log_sigma), schedule, options),
                     PreservingLevel(std::exp(log_sigma))});
  }
  return nodes;
}

// Levels of flow matching (flow_schedule.h) in place of the schedule's own, evenly spaced and then
// shifted towards noise. The library's classes differ: UniPC's sigmas
// start at (all but) 1 and stop a stride above 1 / T; DPM-Solver's start at 1 - 1 / T and stop a
// stride above 0.
std::vector<Node> FlowNodes(int num_train_timesteps, const SamplerOptions& options) {
  const double least = 1.0 / num_train_timesteps;
  const double stride = (1 - least) / options.steps;
  const double first = options.sampler == SamplerKind::kUniPc ? 1 : 1 - least;
  std::vector<Node> nodes;
  for (int i = 0; i < options.steps; ++i) {
    const double shifted = Shifted(first - i * stride, options.flow_shift);
    const double sigma = std::min(shifted, kGreatestSolverSigma);
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

bool IsLogLinear(const SamplerOptions& options) {
  return SamplerReads(options.sampler, "interpolation_type") &&
         options.interpolation_type == InterpolationType::kLogLinear && options.timesteps.empty();
}

// The whole schedule evenly in log sigma, with one level more than there are steps: the last step
// ends at the least noise. As in the library the timesteps remain those of the spacing.
void LayLogLinear(const VpSchedule& schedule, std::vector<Node>& nodes) {
  const SigmaRange range = WholeRange(schedule);
  const std::vector<double> log_sigmas =
      Linspace(range.log_max, range.log_min, static_cast<int>(nodes.size()) + 1);
  for (size_t i = 0; i < nodes.size(); ++i) {
    nodes[i].level = PreservingLevel(std::exp(log_sigmas[i]));
  }
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
  const bool log_linear = IsLogLinear(options);
  if (options.sigma_spacing == SigmaSpacing::kTimesteps) {
    if (log_linear) LayLogLinear(schedule, nodes);
    return nodes;
  }
  const SigmaRange visited = {.log_max = -nodes.front().level.lambda(),
                              .log_min = -nodes.back().level.lambda()};
  ASSIGN_OR_RETURN(const std::vector<double> log_sigmas,
                   SpaceLogSigmas(log_linear ? WholeRange(schedule) : visited, options));
  nodes.clear();
  for (double log_sigma : log_sigmas) {
    nodes.push_back({schedule.TimestepAt(log_sigma), PreservingLevel(std::exp(log_sigma))});
  }
  return nodes;
}

Node FinalNode(const VpSchedule& schedule, const SamplerOptions& options) {
  const bool by_timesteps = options.sigma_spacing == SigmaSpacing::kTimesteps;
  const bool log_linear = by_timesteps && IsLogLinear(options);
  if (options.final_sigma == FinalSigma::kZero && !log_linear) return {0, {1, 0}};
  if (by_timesteps || !options.sigma_min.has_value()) return {0, schedule.LevelAt(0)};
  return {schedule.TimestepAt(std::log(*options.sigma_min)), PreservingLevel(*options.sigma_min)};
}

// What networks of continuous time are told: EDM's c_noise (Karras et al. 2022, table 1).
double ContinuousTimestep(const NoiseLevel& level) { return -0.25 * level.lambda(); }

// All but DDPM and DDIM: every step goes from one node to the next, the last to the final level.
absl::StatusOr<NoisePath> LayOutSolver(const VpSchedule& schedule, const SamplerOptions& options) {
  if (options.sigma_spacing != SigmaSpacing::kTimesteps && !options.timesteps.empty()) {
    return InvalidField("timesteps",
                        "cannot be given together with a sigma_spacing, which chooses them");
  }
  const bool solver = SamplerReads(options.sampler, "solver_order");
  ASSIGN_OR_RETURN(const std::vector<Node> nodes,
                   solver ? SolverNodes(schedule, options) : FractionalNodes(schedule, options));
  ASSIGN_OR_RETURN(NoisePath path, ConnectNodes(nodes, FinalNode(schedule, options), options));
  if (options.timestep_type == TimestepType::kDiscrete) return path;
  for (Move& move : path) {
    move.timestep = ContinuousTimestep(move.from);
    move.end_timestep = ContinuousTimestep(move.to);
  }
  return path;
}

}  // namespace

absl::StatusOr<NoisePath> LayOutVpPath(const VpSchedule& schedule, const SamplerOptions& options) {
  const bool ddpm_or_ddim =
      options.sampler == SamplerKind::kDdpm || options.sampler == SamplerKind::kDdim;
  return ddpm_or_ddim ? LayOutDdpmOrDdim(schedule, options)
                      : LayOutSolver(schedule.WithSignal(), options);
}

}  // namespace denoise
