#include <algorithm>
#include <cmath>
#include <vector>

#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/sampling/samplers/path_nodes.h"
#include "core/sampling/samplers/timestep_spacing.h"
#include "core/sampling/schedules/flow_schedule.h"
#include "core/sampling/schedules/linspace.h"

namespace denoise {
namespace {

absl::StatusOr<std::vector<double>> Timesteps(const SpacingRange& range,
                                              const SamplerOptions& options) {
  if (!options.timesteps.empty()) return options.timesteps;
  return SpaceTimesteps(range, options);
}

// DDPM and DDIM: levels from the schedule, and a clean image after the last step. DDIM's steps end
// at t - T/n, unless the timesteps are custom or `step_to_listed_timestep` asks for the next listed
// one.
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

// Moves between the levels of `timesteps`, the last one to `end`.
NoisePath MovesBetween(const std::vector<double>& timesteps, const NoiseLevel& end,
                       const VpSchedule& schedule) {
  NoisePath path;
  for (size_t i = 0; i < timesteps.size(); ++i) {
    const bool last = i + 1 == timesteps.size();
    path.push_back({.timestep = timesteps[i],
                    .from = schedule.LevelAt(timesteps[i]),
                    .to = last ? end : schedule.LevelAt(timesteps[i + 1]),
                    .end_timestep = last ? 0 : timesteps[i + 1]});
  }
  return path;
}

// Splits `move` in two at the whole timestep halfway.
NoisePath Halves(const Move& move, const VpSchedule& schedule) {
  Move first = move, second = move;
  second.timestep = move.end_timestep + std::floor((move.timestep - move.end_timestep) / 2);
  second.from = schedule.LevelAt(second.timestep);
  first.to = second.from;
  first.end_timestep = second.timestep;
  return {first, second};
}

// PNDM: the Runge-Kutta steps come first, and each is followed by another step.
absl::StatusOr<NoisePath> LayOutPndm(const VpSchedule& schedule, const SamplerOptions& options) {
  const int num_train_timesteps = schedule.num_train_timesteps();
  ASSIGN_OR_RETURN(
      const std::vector<double> timesteps,
      Timesteps({num_train_timesteps, num_train_timesteps, /*leave_out_last=*/false}, options));
  const NoiseLevel end = options.set_alpha_to_one ? NoiseLevel{1, 0} : schedule.LevelAt(0);
  const NoisePath steps = MovesBetween(timesteps, end, schedule);
  const size_t prk_steps =
      options.sampler == SamplerKind::kPndm ? std::min(kPrkSteps, steps.size() - 1) : 0;
  NoisePath path;
  for (size_t i = 0; i < prk_steps; ++i) {
    const NoisePath halves = Halves(steps[i], schedule);
    path.insert(path.end(), halves.begin(), halves.end());
  }
  path.insert(path.end(), steps.begin() + static_cast<ptrdiff_t>(prk_steps), steps.end());
  return path;
}

std::vector<double> DistilledOrCustomTimesteps(const VpSchedule& schedule,
                                               const SamplerOptions& options) {
  if (!options.timesteps.empty()) return options.timesteps;
  return DistilledTimesteps(schedule.num_train_timesteps(), options);
}

// LCM: a clean image after the last step.
NoisePath LayOutLcm(const VpSchedule& schedule, const SamplerOptions& options) {
  return MovesBetween(DistilledOrCustomTimesteps(schedule, options), NoiseLevel{1, 0}, schedule);
}

// TCD: jumps to a timestep below the next one, then up to it with fresh noise. The last jump is to
// timestep 0, as in the library.
NoisePath LayOutTcd(const VpSchedule& schedule, const SamplerOptions& options) {
  const std::vector<double> timesteps = DistilledOrCustomTimesteps(schedule, options);
  NoisePath path;
  for (size_t i = 0; i < timesteps.size(); ++i) {
    const bool last = i + 1 == timesteps.size();
    const double next = last ? 0 : timesteps[i + 1];
    const double below = options.eta == 0 ? next : std::floor((1 - options.eta) * next);
    const NoiseLevel landing = schedule.LevelAt(below);
    path.push_back({timesteps[i], schedule.LevelAt(timesteps[i]), landing});
    if (below < next) path.push_back({below, landing, schedule.LevelAt(next)});
  }
  return path;
}

SigmaRange WholeRange(const VpSchedule& schedule) {
  return {.log_max = -schedule.LevelAt(schedule.timestep_max()).lambda(),
          .log_min = -schedule.LevelAt(schedule.timestep_min()).lambda()};
}

// The whole timestep for the network's input. The library rounds to nearest, but rounds down with
// exponential and beta spacing and, in DPM-Solver, with cosine schedules.
double WholeTimestep(double timestep, const VpSchedule& schedule, const SamplerOptions& options) {
  const bool cosine_dpm_solver =
      schedule.options().beta_schedule == BetaSchedule::kSquaredCosCapV2 &&
      SamplerReads(options.sampler, "euler_at_final");
  if (options.sigma_spacing == SigmaSpacing::kExponential ||
      options.sigma_spacing == SigmaSpacing::kBeta || cosine_dpm_solver) {
    return CutOff(timestep);
  }
  return std::nearbyint(timestep);
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

// Levels of flow matching (flow_schedule.h) instead of the schedule's own, evenly spaced and then
// shifted towards noise. The library's classes differ: UniPC's sigmas start at (almost) 1 and stop
// a stride above 1 / T; DPM-Solver's start at 1 - 1 / T and stop a stride above 0.
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

// The number of timesteps with log(alpha / sigma) of at least `lambda_min`.
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
         options.interpolation_type == InterpolationType::kLogLinear && options.timesteps.empty() &&
         options.sigmas.empty();
}

// Covers the whole schedule evenly in log sigma, with one level more than steps; the last step ends
// at the least noise. As in the library, the timesteps remain those of the spacing.
void LayLogLinear(const VpSchedule& schedule, std::vector<Node>& nodes) {
  const SigmaRange range = WholeRange(schedule);
  const std::vector<double> log_sigmas =
      Linspace(range.log_max, range.log_min, static_cast<int>(nodes.size()) + 1);
  for (size_t i = 0; i < nodes.size(); ++i) {
    nodes[i].level = PreservingLevel(std::exp(log_sigmas[i]));
  }
}

// The samplers in sigma, as in the library: timesteps are fractional, levels are interpolated in
// sigma, and the other spacings run from the first to the last of the timesteps' levels.
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

// Nodes at options.sigmas. The solvers use whole timesteps for the network.
absl::StatusOr<std::vector<Node>> CustomNodes(const VpSchedule& schedule,
                                              const SamplerOptions& options) {
  RETURN_IF_ERROR(CheckSigmas(WholeRange(schedule), options));
  const bool solver = SamplerReads(options.sampler, "solver_order");
  std::vector<Node> nodes;
  for (double sigma : options.sigmas) {
    const double timestep = schedule.TimestepAt(std::log(sigma));
    nodes.push_back({solver ? std::nearbyint(timestep) : timestep, PreservingLevel(sigma)});
  }
  return nodes;
}

absl::StatusOr<std::vector<Node>> NodesOf(const VpSchedule& schedule,
                                          const SamplerOptions& options) {
  if (!options.sigmas.empty()) return CustomNodes(schedule, options);
  return SamplerReads(options.sampler, "solver_order") ? SolverNodes(schedule, options)
                                                       : FractionalNodes(schedule, options);
}

Node FinalNode(const VpSchedule& schedule, const SamplerOptions& options) {
  const bool by_timesteps = options.sigma_spacing == SigmaSpacing::kTimesteps;
  const bool log_linear = by_timesteps && IsLogLinear(options);
  if (options.final_sigma == FinalSigma::kZero && !log_linear) return {0, {1, 0}};
  const bool spaced = !by_timesteps && options.sigmas.empty();
  if (!spaced || !options.sigma_min.has_value()) return {0, schedule.LevelAt(0)};
  return {schedule.TimestepAt(std::log(*options.sigma_min)), PreservingLevel(*options.sigma_min)};
}

// The input of networks with continuous time: EDM's c_noise (Karras et al. 2022, table 1).
double ContinuousTimestep(const NoiseLevel& level) { return -0.25 * level.lambda(); }

// Solvers, samplers in sigma and the SDE: steps go from node to node, and the last one to the final
// level.
absl::StatusOr<NoisePath> LayOutSolver(const VpSchedule& schedule, const SamplerOptions& options) {
  if (options.sigma_spacing != SigmaSpacing::kTimesteps && !options.timesteps.empty()) {
    return InvalidField("timesteps",
                        "cannot be given together with a sigma_spacing, which chooses them");
  }
  ASSIGN_OR_RETURN(const std::vector<Node> nodes, NodesOf(schedule, options));
  ASSIGN_OR_RETURN(NoisePath path, ConnectNodes(nodes, FinalNode(schedule, options), options));
  if (options.sampler == SamplerKind::kHeun) {
    path = AddChurn(path, options, [&](double log_sigma) {
      return Node{schedule.TimestepAt(log_sigma), PreservingLevel(std::exp(log_sigma))};
    });
  }
  if (options.timestep_type == TimestepType::kDiscrete) return path;
  for (Move& move : path) {
    move.timestep = ContinuousTimestep(move.from);
    move.end_timestep = ContinuousTimestep(move.to);
  }
  return path;
}

}  // namespace

absl::StatusOr<NoisePath> LayOutVpPath(const VpSchedule& schedule, const SamplerOptions& options) {
  switch (options.sampler) {
    case SamplerKind::kDdpm:
    case SamplerKind::kDdim:
      return LayOutDdpmOrDdim(schedule, options);
    case SamplerKind::kPndm:
    case SamplerKind::kPlms:
      return LayOutPndm(schedule.WithSignal(), options);
    case SamplerKind::kLcm:
      return LayOutLcm(schedule, options);
    case SamplerKind::kTcd:
      return LayOutTcd(schedule, options);
    default:
      return LayOutSolver(schedule.WithSignal(), options);
  }
}

}  // namespace denoise
