// All options of sampling, as plain data.
#pragma once

#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/sampling/schedules/preconditioning.h"

namespace denoise {

enum class SamplerKind {
  kDdpm,                            // ancestral sampling: Ho et al. 2020
  kDdim,                            // Song et al. 2021
  kDpmSolver,                       // DPM-Solver multistep, in epsilon: Lu et al. 2022a
  kDpmSolverPlusPlus,               // DPM-Solver++ multistep, in x0: Lu et al. 2022b
  kSdeDpmSolverPlusPlus,            // its stochastic form
  kUniPc,                           // Zhao et al. 2023
  kEuler,                           // in sigma: Karras et al. 2022
  kEulerAncestral,                  // its stochastic form: Crowson 2022 (k-diffusion)
  kHeun,                            // in sigma, two evaluations a step: Karras et al. 2022
  kDpmSolverSinglestep,             // DPM-Solver: Lu et al. 2022a
  kDpmSolverPlusPlusSinglestep,     // DPM-Solver++: Lu et al. 2022b
  kSdeDpmSolverPlusPlusSinglestep,  // its stochastic form
  kDeis,                            // multistep, in log rho: Zhang & Chen 2023
  kPndm,                            // Runge-Kutta, then linear multistep: Liu et al. 2022
  kPlms,                            // only the latter
  kLcm,                             // consistency: Luo et al. 2023
  kTcd,                             // trajectory consistency: Zheng et al. 2024
  kVpSde,                           // Euler-Maruyama in time: Song et al. 2021 (score-based)
  kVpOde,                           // its probability flow ODE, by Euler's method
  kConsistency,  // to x0 and back out with fresh noise: Song et al. 2023, algorithm 1
};

enum class TimestepSpacing { kLeading, kTrailing, kLinspace };
enum class VarianceType {
  kFixedSmall,
  kFixedSmallLog,
  kFixedLarge,
  kFixedLargeLog,
  kLearned,
  kLearnedRange
};
// The first two belong to DPM-Solver, the last two to UniPC.
enum class SolverType { kMidpoint, kHeun, kBh1, kBh2 };
enum class SigmaSpacing { kTimesteps, kKarras, kExponential, kLu, kFlow, kBeta };
enum class FinalSigma { kZero, kSigmaMin };
enum class InterpolationType { kLinear, kLogLinear };
enum class TimestepType { kDiscrete, kContinuous };

// These defaults are ours; a scheduler_config.json has those of its class (scheduler_config.h).
// option_table.h says which options a request may set, and describes them.
struct SamplerOptions {
  SamplerKind sampler = SamplerKind::kDpmSolverPlusPlus;
  int steps = 20;
  // Custom timesteps, noisiest first; unless empty, they replace `steps` and the spacing.
  std::vector<double> timesteps;
  std::vector<double> sigmas;  // likewise, as sigmas of x / alpha
  PredictionType prediction_type = PredictionType::kEpsilon;
  TimestepSpacing timestep_spacing = TimestepSpacing::kLeading;
  int steps_offset = 0;

  bool clip_sample = false;  // unless thresholding
  double clip_sample_range = 1;
  bool thresholding = false;
  double dynamic_thresholding_ratio = 0.995;
  double sample_max_value = 1;

  VarianceType variance_type = VarianceType::kFixedSmall;  // DDPM

  double eta = 0;                         // DDIM; TCD, where it is the paper's gamma
  bool use_clipped_model_output = false;  // DDIM
  // DDIM, PNDM: alphas_cumprod before timestep 0 is 1 instead of alphas_cumprod[0].
  bool set_alpha_to_one = true;
  // DDIM: step to the next listed timestep instead of t - T / steps.
  bool step_to_listed_timestep = false;

  int original_inference_steps = 50;  // LCM, TCD: how many steps the network was distilled from
  double timestep_scaling = 10;       // LCM: scales the timesteps in its boundary condition

  int solver_order = 2;                   // DPM-Solver, DEIS, UniPC: 1 to 3
  std::optional<SolverType> solver_type;  // absent: see ResolvedSolverType
  bool lower_order_final = true;
  bool euler_at_final = false;
  FinalSigma final_sigma = FinalSigma::kZero;
  SigmaSpacing sigma_spacing = SigmaSpacing::kTimesteps;
  double flow_shift = 1;
  // For karras, exponential, lu and beta spacing; absent: those of the schedule.
  std::optional<double> sigma_min;
  std::optional<double> sigma_max;
  std::optional<double> rho;
  std::optional<bool> rescale_betas_zero_snr;                         // absent: as in the schedule
  InterpolationType interpolation_type = InterpolationType::kLinear;  // Euler
  TimestepType timestep_type = TimestepType::kDiscrete;               // continuous: 0.25 log sigma
  double lambda_min_clipped = -std::numeric_limits<double>::infinity();
  std::vector<int> disable_corrector;  // UniPC: steps without the corrector
  bool predict_x0 = true;              // UniPC: expands the predicted x0, otherwise the noise

  // Euler, Heun: fresh noise along the way (Karras et al. 2022, algorithm 2); 0 is none.
  // Consistency sampling reads only s_noise.
  double s_churn = 0;
  double s_tmin = 0;  // between these sigmas
  double s_tmax = std::numeric_limits<double>::infinity();
  double s_noise = 1;  // the standard deviation of that noise

  // Multiplies the standard deviation of the noise that the sampler adds along the way. The jumps
  // of a run and the known part of an inpainted picture are not affected, because they must reach
  // their level.
  double noise_temperature = 1;

  // DPM-Solver, DPM-Solver++ of order 3: use the factor 2 that is missing from the published second
  // difference and, in the stochastic form, the right sign of a part of its weight. Without it the
  // order of convergence is lower, but images match those of other implementations.
  bool corrected_third_order = false;
};

// The name in flags and protocols: "ddpm", "ddim", "dpm_solver", "dpmpp", ... See option_names.h.
std::string_view SamplerName(SamplerKind sampler);

// A sampler as users name it: by one of the names above, or by one that includes the solver's order
// ("dpmpp_2m", "unipc_3").
struct NamedSampler {
  SamplerKind sampler;
  std::optional<int> solver_order;

  bool operator==(const NamedSampler&) const = default;
};
std::optional<NamedSampler> ParseSampler(std::string_view name);

// The name that includes the order ("dpmpp_2m") if there is one, otherwise the sampler's own.
std::string_view FullSamplerName(const NamedSampler& sampler);

// All names that ParseSampler accepts: "ddpm, ddim, ...".
std::string SamplerNameList();

// `solver_type`, or the sampler's default if that is absent: bh2 for UniPC, otherwise midpoint.
SolverType ResolvedSolverType(const SamplerOptions& options);

// Whether this is a singlestep form of DPM-Solver.
bool IsSinglestep(SamplerKind sampler);

// Whether this is a stochastic form of DPM-Solver++.
bool IsSdeSolver(SamplerKind sampler);

// Whether this is a form of UniPC; the others belong to DPM-Solver.
bool IsUniPcType(SolverType type);

// Whether `sampler` reads the member of SamplerOptions called `option`; false for unknown names.
// ApplyOverrides refuses options that are set but not read.
bool SamplerReads(SamplerKind sampler, std::string_view option);

}  // namespace denoise
