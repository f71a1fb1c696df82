// The way a trajectory takes through the noise levels, and the samplers compiled along one.
//
// A path says where each step starts and ends; it is all that a sampler needs to know of schedules,
// spacings and timesteps (path_layout.h makes paths from those). Compiling along an explicit path
// is also how the samplers' orders of convergence are measured.
#pragma once

#include <optional>
#include <vector>

#include "core/sampling/linear_form.h"
#include "core/sampling/noise_level.h"
#include "core/sampling/plan.h"
#include "core/sampling/preconditioning.h"
#include "core/sampling/sampler_options.h"

namespace denoise {

struct Move {
  double timestep;  // what the network is told at `from`
  NoiseLevel from;
  NoiseLevel to;
  double end_timestep = 0;  // what it is told at `to`, by samplers that ask there, too
  std::optional<Preconditioning> preconditioning = std::nullopt;  // the network's, if any
};

// Each move starts where the one before ended, unless the sampler is DDIM: the library's step
// length there is T / n, which may miss the next listed timestep.
using NoisePath = std::vector<Move>;

// Ho et al. 2020; Nichol & Dhariwal 2021. One slot.
SamplerPlan CompileDdpm(const NoisePath& path, const SamplerOptions& options);

// Song et al. 2021. One slot.
SamplerPlan CompileDdim(const NoisePath& path, const SamplerOptions& options);

// Lu et al. 2022a, 2022b: DPM-Solver, DPM-Solver++ and its stochastic form. solver_order slots.
SamplerPlan CompileDpmSolver(const NoisePath& path, const SamplerOptions& options);

// Zhao et al. 2023. solver_order + 2 slots.
SamplerPlan CompileUniPc(const NoisePath& path, const SamplerOptions& options);

// Karras et al. 2022. One slot.
SamplerPlan CompileEuler(const NoisePath& path, const SamplerOptions& options);

// Crowson 2022, k-diffusion. One slot.
SamplerPlan CompileEulerAncestral(const NoisePath& path, const SamplerOptions& options);

// Karras et al. 2022. Two slots, and two evaluations a step but for a last one to no noise.
SamplerPlan CompileHeun(const NoisePath& path, const SamplerOptions& options);

// The one of these that `options` names. `options` is valid (sampler_validation.h) and the path is
// not empty. The coefficients are finite where the path allows; CompilePlan checks.
SamplerPlan CompilePath(const NoisePath& path, const SamplerOptions& options);

// What all samplers share: the evaluation that starts `move`, with its prediction and clip, and no
// update yet.
Evaluation StartEvaluation(const Move& move, const SamplerOptions& options);

// An empty plan with `slots` slots whose first and last levels are those of the path.
SamplerPlan StartPlan(const NoisePath& path, int slots);

// The same for samplers whose slot 0 is x / alpha, which is x0 + ratio * epsilon. The network still
// sees x.
Evaluation StartSigmaEvaluation(const Move& move, const SamplerOptions& options);
// Their direction dx / dsigma: the noise that the network sees, at the sigma that the move is from.
LinearForm SigmaDirection(const Move& move);
SamplerPlan StartSigmaPlan(const NoisePath& path, const SamplerOptions& options, int slots);

}  // namespace denoise
