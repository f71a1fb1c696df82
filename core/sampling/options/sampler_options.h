// Everything a caller may choose about sampling, as plain data.
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
  kPlms,                            // the latter alone
  kLcm,                             // consistency: Luo et al. 2023
  kTcd,                             // trajectory consistency: Zheng et al. 2024
  kVpSde,                           // Euler-Maruyama in time: Song et al. 2021 (score-based)
  kVpOde,                           // its probability flow, by Euler's method
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
enum class SolverType {
  kMidpoint,
  kHeun,
  kBh1,
  kBh2
};  // the first two: DPM-Solver; the last two: UniPC
enum class SigmaSpacing { kTimesteps, kKarras, kExponential, kLu, kFlow, kBeta };
enum class FinalSigma { kZero, kSigmaMin };
enum class InterpolationType { kLinear, kLogLinear };
enum class TimestepType { kDiscrete, kContinuous };

// The defaults are ours; a scheduler_config.json brings its class's own (scheduler_config.h). What a
// caller may choose, and how it is told, stands in option_table.h.
struct SamplerOptions {
  SamplerKind sampler = SamplerKind::kDpmSolverPlusPlus;
  int steps = 20;
  std::vector<double>
      timesteps;  // custom, strictly descending; replaces `steps` and the spacing when not empty
  std::vector<double> sigmas;  // custom, of x / alpha, strictly descending; in place of all three
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
  bool set_alpha_to_one =
      true;  // DDIM, PNDM: alphas_cumprod before timestep 0 is 1, else alphas_cumprod[0]
  bool step_to_listed_timestep =
      false;  // DDIM: step to the next listed timestep, not to t - T / steps

  int original_inference_steps = 50;  // LCM, TCD: how many steps the network was distilled from
  double timestep_scaling = 10;       // LCM: of the timesteps in its boundary condition

  int solver_order = 2;                   // DPM-Solver, UniPC: 1 to 3
  std::optional<SolverType> solver_type;  // absent: the sampler's own (ResolvedSolverType)
  bool lower_order_final = true;
  bool euler_at_final = false;
  FinalSigma final_sigma = FinalSigma::kZero;
  SigmaSpacing sigma_spacing = SigmaSpacing::kTimesteps;
  double flow_shift = 1;
  // Of karras, exponential, lu and beta spacing; absent: the schedule's own.
  std::optional<double> sigma_min;
  std::optional<double> sigma_max;
  std::optional<double> rho;
  std::optional<bool> rescale_betas_zero_snr;                         // absent: as the schedule is
  InterpolationType interpolation_type = InterpolationType::kLinear;  // Euler
  TimestepType timestep_type = TimestepType::kDiscrete;  // continuous: told 0.25 log sigma
  double lambda_min_clipped = -std::numeric_limits<double>::infinity();
  std::vector<int> disable_corrector;  // UniPC: steps without the corrector

  // Euler, Heun: fresh noise on the way (Karras et al. 2022, algorithm 2); 0 is none. Consistency
  // sampling reads s_noise alone.
  double s_churn = 0;
  double s_tmin = 0;  // between these sigmas
  double s_tmax = std::numeric_limits<double>::infinity();
  double s_noise = 1;  // the deviation of that noise

  // Times the deviation of the noise that the sampler adds on the way. The jumps of a run and the
  // known part of an inpainted picture keep theirs: they must arrive at their level.
  double noise_temperature = 1;

  // DPM-Solver, DPM-Solver++ of order 3: with the factor 2 that the published second difference
  // lacks. Without it the order of convergence is 2; images made elsewhere were made without it.
  bool corrected_third_order = false;
};

// Names as people and protocols write them: "ddpm", "ddim", "dpm_solver", "dpmpp", "dpmpp_sde",
// "unipc", "euler", ... The names of all are in option_names.h.
std::string_view SamplerName(SamplerKind sampler);

// A sampler as a person names it: the names above, and names that fix the solver's order, too
// ("dpmpp_2m", "unipc_3").
struct NamedSampler {
  SamplerKind sampler;
  std::optional<int> solver_order;

  bool operator==(const NamedSampler&) const = default;
};
std::optional<NamedSampler> ParseSampler(std::string_view name);

// The name that ParseSampler takes for `sampler` with its order, where there is one ("dpmpp_2m"),
// else the sampler's own.
std::string_view FullSamplerName(const NamedSampler& sampler);

// All names that ParseSampler knows, "ddpm, ddim, ...".
std::string SamplerNameList();

// `solver_type`, or what its absence means to the sampler: bh2 for UniPC, else midpoint.
SolverType ResolvedSolverType(const SamplerOptions& options);

// DPM-Solver in its singlestep forms.
bool IsSinglestep(SamplerKind sampler);

// DPM-Solver++ in its stochastic forms.
bool IsSdeSolver(SamplerKind sampler);

// Whether this is a form of UniPC; the others are of DPM-Solver.
bool IsUniPcType(SolverType type);

// Whether `sampler` reads the member of SamplerOptions called `option`; false for a name that is no
// member. ApplyOverrides refuses what is set and not read.
bool SamplerReads(SamplerKind sampler, std::string_view option);

}  // namespace denoise
