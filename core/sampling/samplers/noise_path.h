// The way a trajectory takes through the noise levels, and the samplers compiled along one.
//
// A path says where each step starts and ends; it is all that a sampler needs to know of schedules,
// spacings and timesteps (path_layout.h makes paths from those). Compiling along an explicit path
// is also how the samplers' orders of convergence are measured.
#pragma once

#include <optional>
#include <vector>

#include "core/sampling/options/sampler_options.h"
#include "core/sampling/samplers/linear_form.h"
#include "core/sampling/samplers/plan.h"
#include "core/sampling/schedules/noise_level.h"
#include "core/sampling/schedules/preconditioning.h"

namespace denoise {

inline double Square(double x) { return x * x; }

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

// Whether `move` goes towards more noise. No network is asked there: fresh noise is added.
bool GoesUp(const Move& move);

// Ho et al. 2020; Nichol & Dhariwal 2021. One slot.
SamplerPlan CompileDdpm(const NoisePath& path, const SamplerOptions& options);

// Song et al. 2021. One slot.
SamplerPlan CompileDdim(const NoisePath& path, const SamplerOptions& options);

// Lu et al. 2022a, 2022b: DPM-Solver, DPM-Solver++ and its stochastic form. solver_order slots.
SamplerPlan CompileDpmSolver(const NoisePath& path, const SamplerOptions& options);

// The same, singlestep. solver_order + 1 slots, one of order 1.
SamplerPlan CompileDpmSolverSinglestep(const NoisePath& path, const SamplerOptions& options);

// Zhang & Chen 2023. solver_order slots.
SamplerPlan CompileDeis(const NoisePath& path, const SamplerOptions& options);

// Zhao et al. 2023. solver_order + 2 slots.
SamplerPlan CompileUniPc(const NoisePath& path, const SamplerOptions& options);

// Karras et al. 2022. One slot.
SamplerPlan CompileEuler(const NoisePath& path, const SamplerOptions& options);

// Crowson 2022, k-diffusion. One slot.
SamplerPlan CompileEulerAncestral(const NoisePath& path, const SamplerOptions& options);

// Karras et al. 2022. Two slots, and two evaluations a step but for a last one to no noise. Moves
// towards more noise are its churn.
SamplerPlan CompileHeun(const NoisePath& path, const SamplerOptions& options);

// Liu et al. 2022. Five slots; six with Runge-Kutta steps (kPndm), of which the path has up to
// kPrkSteps first, two moves each: to the middle and to the end. A path of one move has none. The
// first step without them (kPlms) takes two evaluations.
inline constexpr size_t kPrkSteps = 3;
SamplerPlan CompilePndm(const NoisePath& path, const SamplerOptions& options);

// Luo et al. 2023. One slot.
SamplerPlan CompileLcm(const NoisePath& path, const SamplerOptions& options);

// Zheng et al. 2024. One slot. Begins with a move towards less noise.
SamplerPlan CompileTcd(const NoisePath& path, const SamplerOptions& options);

// Song et al. 2021 (score-based): the variance-preserving SDE and its ODE. One slot.
SamplerPlan CompileVpSde(const NoisePath& path, const SamplerOptions& options);
// Song et al. 2023. One slot.
SamplerPlan CompileConsistency(const NoisePath& path, const SamplerOptions& options);

// The one of these that `options` names. `options` is valid (sampler_validation.h) and the path is
// not empty. The coefficients are finite where the path allows; CompilePlan checks.
SamplerPlan CompilePath(const NoisePath& path, const SamplerOptions& options);

// What all samplers share: the evaluation that starts `move`, with its prediction and clip, and no
// update yet.
Evaluation StartEvaluation(const Move& move, const SamplerOptions& options);

// An empty plan with `slots` slots whose first and last levels are those of the path.
SamplerPlan StartPlan(const NoisePath& path, int slots);

// The move from where `move` ends that samplers make which ask the network there, too.
Move EndOf(const Move& move);

// gamma of Karras et al. 2022, algorithm 2: by how much of itself sigma is raised with fresh noise
// before one of `steps` steps.
double Churn(double sigma, size_t steps, const SamplerOptions& options);

// The noise that x0, clipped or not, leaves in x.
LinearForm NoiseIn(const NoiseLevel& level);

// The order of a multistep solver's step. Order p needs p - 1 earlier predictions. The last step is
// of order 1 where its end has no noise (the expansion does not exist there) and where it does not
// move at all (sigma_min reached already).
int MultistepOrder(const NoisePath& path, size_t step, const SamplerOptions& options);

// The same for samplers in sigma. Slot 0 is x / alpha, which is x0 + sigma * epsilon with sigma the
// level's ratio. Flow matching has a straight line of its own: slot 0 is x and sigma the flow's. The
// network sees x either way.
Evaluation StartSigmaEvaluation(const Move& move, const SamplerOptions& options);
double SigmaOf(const NoiseLevel& level, const SamplerOptions& options);
// Their direction d slot 0 / dsigma, from `sigma`: the noise that the network sees, or the flow's
// velocity.
LinearForm SigmaDirection(double sigma);
SamplerPlan StartSigmaPlan(const NoisePath& path, const SamplerOptions& options, int slots);

}  // namespace denoise
