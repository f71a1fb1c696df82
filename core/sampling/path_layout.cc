#include "core/sampling/path_layout.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/sampling/timestep_spacing.h"

namespace denoise {
namespace {

constexpr double kKarrasRho = 7;  // Karras et al. 2022, table 1

// What alphas_cumprod is taken for at the last timestep of a schedule with zero terminal SNR by the
// solvers that divide by it. The library's value: the smallest number of float16.
constexpr double kLeastAlphaCumprod = 1.0 / (1 << 24);

// A sampled timestep and the noise level the image has there.
struct Node {
  double timestep;
  NoiseLevel level;
};

NoiseLevel LevelOfAlphaCumprod(double alpha_cumprod) {
  return {std::sqrt(alpha_cumprod), std::sqrt(1 - alpha_cumprod)};
}

// The level whose sigma / alpha is `ratio`, scaled to preserve variance.
NoiseLevel LevelOfRatio(double ratio) {
  const double alpha = 1 / std::hypot(ratio, 1);
  return {alpha, ratio * alpha};
}

// alphas_cumprod, interpolated between whole timesteps.
NoiseLevel LevelAt(const std::vector<double>& alphas_cumprod, double timestep) {
  const double last = static_cast<double>(alphas_cumprod.size() - 1);
  const double floor = std::min(std::floor(timestep), last);
  const double fraction = timestep - floor;
  const size_t index = static_cast<size_t>(floor);
  if (fraction == 0) return LevelOfAlphaCumprod(alphas_cumprod[index]);
  return LevelOfAlphaCumprod((1 - fraction) * alphas_cumprod[index] +
                             fraction * alphas_cumprod[index + 1]);
}

absl::StatusOr<std::vector<double>> Timesteps(const SpacingRange& range,
                                              const SamplerOptions& options) {
  if (!options.timesteps.empty()) return options.timesteps;
  return SpaceTimesteps(range, options);
}

// DDPM and DDIM: levels straight from the schedule, and a clean image after the last step. DDIM's
// steps end at t - T/n unless the timesteps are custom or `step_to_listed_timestep` asks for the
// next one listed.
absl::StatusOr<NoisePath> LayOutDdpmOrDdim(const Schedule& schedule,
                                           const SamplerOptions& options) {
  const std::vector<double>& alphas_cumprod = schedule.alphas_cumprod();
  const int num_train_timesteps = schedule.num_train_timesteps();
  ASSIGN_OR_RETURN(
      const std::vector<double> timesteps,
      Timesteps({num_train_timesteps, num_train_timesteps, /*leave_out_last=*/false}, options));
  const bool ddim = options.sampler == SamplerKind::kDdim;
  const bool fixed_stride = ddim && options.timesteps.empty() && !options.step_to_listed_timestep;
  const NoiseLevel end =
      ddim && !options.set_alpha_to_one ? LevelAt(alphas_cumprod, 0) : NoiseLevel{1, 0};

  NoisePath path;
  for (size_t i = 0; i < timesteps.size(); ++i) {
    const double listed = i + 1 < timesteps.size() ? timesteps[i + 1] : -1;
    const double next = fixed_stride ? timesteps[i] - num_train_timesteps / options.steps : listed;
    path.push_back({timesteps[i], LevelAt(alphas_cumprod, timesteps[i]),
                    next >= 0 ? LevelAt(alphas_cumprod, next) : end});
  }
  return path;
}

// The schedule as sigma / alpha, ascending: what the spacings of the solvers and of the samplers
// in sigma are laid over.
class SigmaTable {
 public:
  explicit SigmaTable(const Schedule& schedule) : alphas_cumprod_(schedule.alphas_cumprod()) {
    if (alphas_cumprod_.back() == 0) alphas_cumprod_.back() = kLeastAlphaCumprod;
    for (double value : alphas_cumprod_)
      log_sigmas_.push_back(0.5 * (std::log1p(-value) - std::log(value)));
  }

  const std::vector<double>& alphas_cumprod() const { return alphas_cumprod_; }
  // Between whole timesteps linear in sigma.
  double SigmaAt(double timestep) const {
    const double floor = std::floor(timestep);
    const double fraction = timestep - floor;
    const size_t index = static_cast<size_t>(floor);
    const double below = std::exp(log_sigmas_[index]);
    return fraction == 0 ? below
                         : (1 - fraction) * below + fraction * std::exp(log_sigmas_[index + 1]);
  }

  double log_sigma_min() const { return log_sigmas_.front(); }
  double log_sigma_max() const { return log_sigmas_.back(); }

  // How many timesteps have lambda = -log sigma of at least `lambda_min`.
  int CountFrom(double lambda_min) const {
    return static_cast<int>(
        std::count_if(log_sigmas_.begin(), log_sigmas_.end(),
                      [&](double log_sigma) { return -log_sigma >= lambda_min; }));
  }

  // The fractional timestep at which the schedule has this sigma, linear in log sigma between two
  // timesteps.
  double TimestepAt(double log_sigma) const {
    const auto above = std::upper_bound(log_sigmas_.begin(), log_sigmas_.end(), log_sigma);
    if (above == log_sigmas_.begin()) return 0;
    if (above == log_sigmas_.end()) return static_cast<double>(log_sigmas_.size() - 1);
    const double low = *(above - 1);
    return static_cast<double>(above - 1 - log_sigmas_.begin()) +
           (log_sigma - low) / (*above - low);
  }

 private:
  std::vector<double> alphas_cumprod_;
  std::vector<double> log_sigmas_;
};

// The i-th of `steps` values from `first` down to `last`.
double Ramp(double first, double last, int i, int steps) {
  return steps == 1 ? first : first + (last - first) * i / (steps - 1);
}

// The i-th of `steps` log sigmas from `max` down to `min`.
double LogSigma(double max, double min, SigmaSpacing spacing, int i, int steps) {
  if (spacing != SigmaSpacing::kKarras) return Ramp(max, min, i, steps);
  const double root = Ramp(std::exp(max / kKarrasRho), std::exp(min / kKarrasRho), i, steps);
  return kKarrasRho * std::log(root);  // Karras et al. 2022, eq. 5
}

// The whole timestep at or below. A value a rounding error below a whole one counts as that.
double CutOff(double timestep) {
  constexpr double kRoundingError = 1e-4;
  return std::floor(timestep + kRoundingError);
}

// The whole timestep that the network is told. The library rounds, except that it cuts off
// exponential spacing and, in DPM-Solver, cosine schedules.
double WholeTimestep(double timestep, const Schedule& schedule, const SamplerOptions& options) {
  const bool cosine_dpm_solver = schedule.beta_schedule() == BetaSchedule::kSquaredCosCapV2 &&
                                 SamplerReads(options.sampler, "euler_at_final");
  if (options.sigma_spacing == SigmaSpacing::kExponential || cosine_dpm_solver) {
    return CutOff(timestep);
  }
  return std::nearbyint(timestep);
}

std::vector<Node> SigmaNodes(const SigmaTable& table, const Schedule& schedule,
                             const SamplerOptions& options) {
  std::vector<Node> nodes;
  for (int i = 0; i < options.steps; ++i) {
    const double log_sigma = LogSigma(table.log_sigma_max(), table.log_sigma_min(),
                                      options.sigma_spacing, i, options.steps);
    nodes.push_back({WholeTimestep(table.TimestepAt(log_sigma), schedule, options),
                     LevelOfRatio(std::exp(log_sigma))});
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

absl::StatusOr<std::vector<Node>> TimestepNodes(const SigmaTable& table,
                                                const SamplerOptions& options) {
  const int num_train_timesteps = static_cast<int>(table.alphas_cumprod().size());
  int end = num_train_timesteps;
  if (SamplerReads(options.sampler, "lambda_min_clipped"))
    end = table.CountFrom(options.lambda_min_clipped);
  if (end == 0)
    return InvalidField("lambda_min_clipped", "leaves out every timestep of the schedule");
  ASSIGN_OR_RETURN(const std::vector<double> timesteps,
                   Timesteps({num_train_timesteps, end, /*leave_out_last=*/true}, options));
  std::vector<Node> nodes;
  for (double timestep : timesteps)
    nodes.push_back({timestep, LevelAt(table.alphas_cumprod(), timestep)});
  return nodes;
}

absl::StatusOr<std::vector<Node>> SolverNodes(const SigmaTable& table, const Schedule& schedule,
                                              const SamplerOptions& options) {
  if (options.sigma_spacing == SigmaSpacing::kTimesteps) return TimestepNodes(table, options);
  if (options.sigma_spacing == SigmaSpacing::kFlow) {
    return FlowNodes(schedule.num_train_timesteps(), options);
  }
  return SigmaNodes(table, schedule, options);
}

// The samplers in sigma, as the library has them: timesteps are fractional, levels are interpolated
// in sigma, and the other spacings run between the first and the last of the timesteps' levels.
absl::StatusOr<std::vector<Node>> FractionalNodes(const SigmaTable& table,
                                                  const SamplerOptions& options) {
  const int num_train_timesteps = static_cast<int>(table.alphas_cumprod().size());
  ASSIGN_OR_RETURN(std::vector<double> timesteps,
                   Timesteps({num_train_timesteps, num_train_timesteps, /*leave_out_last=*/false,
                              /*fractional=*/true},
                             options));
  std::vector<Node> nodes;
  for (double timestep : timesteps)
    nodes.push_back({timestep, LevelOfRatio(table.SigmaAt(timestep))});
  if (options.sigma_spacing == SigmaSpacing::kTimesteps) return nodes;

  const double max = -nodes.front().level.lambda(), min = -nodes.back().level.lambda();
  for (int i = 0; i < options.steps; ++i) {
    const double log_sigma = LogSigma(max, min, options.sigma_spacing, i, options.steps);
    nodes[i] = {table.TimestepAt(log_sigma), LevelOfRatio(std::exp(log_sigma))};
  }
  return nodes;
}

// Spacings computed in log sigma arrive at sigma_min but for rounding; the last step then stands
// still instead of going a hair backwards.
NoiseLevel EndAfter(const NoiseLevel& last, const NoiseLevel& end) {
  constexpr double kRoundingError = 1e-9;
  return std::abs(last.lambda() - end.lambda()) < kRoundingError ? last : end;
}

// All but DDPM and DDIM: every step goes from one node to the next, the last to the final level.
absl::StatusOr<NoisePath> LayOutSolver(const Schedule& schedule, const SamplerOptions& options) {
  if (options.sigma_spacing != SigmaSpacing::kTimesteps && !options.timesteps.empty()) {
    return InvalidField("timesteps",
                        "cannot be given together with a sigma_spacing, which chooses them");
  }
  const SigmaTable table(schedule);
  const bool solver = SamplerReads(options.sampler, "solver_order");
  ASSIGN_OR_RETURN(const std::vector<Node> nodes, solver ? SolverNodes(table, schedule, options)
                                                         : FractionalNodes(table, options));
  const NoiseLevel end = options.final_sigma == FinalSigma::kZero
                             ? NoiseLevel{1, 0}
                             : LevelAt(table.alphas_cumprod(), 0);
  NoisePath path;
  for (size_t i = 0; i < nodes.size(); ++i) {
    const NoiseLevel next =
        i + 1 < nodes.size() ? nodes[i + 1].level : EndAfter(nodes[i].level, end);
    path.push_back({nodes[i].timestep, nodes[i].level, next});
    if (i + 1 < nodes.size() && !(nodes[i].level.lambda() < next.lambda())) {
      return InvalidField(options.timesteps.empty() ? "steps" : "timesteps",
                          "puts two steps at the same noise level; take fewer");
    }
  }
  return path;
}

absl::Status CheckSignal(const NoisePath& path, const SamplerOptions& options) {
  if (options.prediction_type != PredictionType::kEpsilon) return absl::OkStatus();
  for (const Move& move : path) {
    if (move.from.alpha > 0) continue;
    return InvalidField("prediction_type",
                        absl::StrCat("epsilon says nothing of x0 at timestep ", move.timestep,
                                     ", where the schedule has no signal; start below it, or use a "
                                     "network that predicts v"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<NoisePath> LayOutPath(const Schedule& schedule, const SamplerOptions& options) {
  const bool ddpm_or_ddim =
      options.sampler == SamplerKind::kDdpm || options.sampler == SamplerKind::kDdim;
  ASSIGN_OR_RETURN(NoisePath path, ddpm_or_ddim ? LayOutDdpmOrDdim(schedule, options)
                                                : LayOutSolver(schedule, options));
  RETURN_IF_ERROR(CheckSignal(path, options));
  return path;
}

}  // namespace denoise
