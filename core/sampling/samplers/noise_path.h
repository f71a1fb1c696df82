// The path of a trajectory through noise levels, and the samplers compiled along one.
//
// A path says where each step starts and ends. It is all that a sampler needs to know about
// schedules, spacings and timesteps (path_layout.h makes paths from those). Tests also compile
// samplers along explicit paths to measure their orders of convergence.
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
  double timestep;  // the network's input at `from`
  NoiseLevel from;
  NoiseLevel to;
  double end_timestep = 0;  // its input at `to`, for samplers that also evaluate it there
  std::optional<Preconditioning> preconditioning = std::nullopt;  // of the network, if any
};

// Each move starts where the previous one ended, except for DDIM: the library's step length is T /
// n, which may miss the next listed timestep.
using NoisePath = std::vector<Move>;

// Whether `move` goes towards more noise. Such moves add fresh noise and evaluate no network.
bool GoesUp(const Move& move);

// Ho et al. 2020; Nichol & Dhariwal 2021. One slot.
SamplerPlan CompileDdpm(const NoisePath& path, const SamplerOptions& options);

// Song et al. 2021. One slot.
SamplerPlan CompileDdim(const NoisePath& path, const SamplerOptions& options);

// Lu et al. 2022a, 2022b: DPM-Solver, DPM-Solver++ and its stochastic form. solver_order slots.
SamplerPlan CompileDpmSolver(const NoisePath& path, const SamplerOptions& options);

// The same, singlestep. solver_order + 1 slots, or one with order 1.
SamplerPlan CompileDpmSolverSinglestep(const NoisePath& path, const SamplerOptions& options);

// Zhang & Chen 2023. solver_order slots.
SamplerPlan CompileDeis(const NoisePath& path, const SamplerOptions& options);

// Zhao et al. 2023. solver_order + 2 slots.
SamplerPlan CompileUniPc(const NoisePath& path, const SamplerOptions& options);

// Karras et al. 2022. One slot.
SamplerPlan CompileEuler(const NoisePath& path, const SamplerOptions& options);

// Crowson 2022, k-diffusion. One slot.
SamplerPlan CompileEulerAncestral(const NoisePath& path, const SamplerOptions& options);

// Karras et al. 2022. Two slots, and two evaluations per step, except for a last step to no noise.
// Moves towards more noise are its churn.
SamplerPlan CompileHeun(const NoisePath& path, const SamplerOptions& options);

// Liu et al. 2022. Five slots, or six with Runge-Kutta steps (kPndm). The path begins with up to
// kPrkSteps of those, as two moves each: to the middle and to the end. A path of one move has none.
// Without them (kPlms) the first step takes two evaluations.
inline constexpr size_t kPrkSteps = 3;
SamplerPlan CompilePndm(const NoisePath& path, const SamplerOptions& options);

// PLMS from a picture, without the first `left_out` of the path's steps, as the library's PNDM does
// it. Requires 0 < left_out < path.size().
//
// The library lists the timesteps that the network is asked at, t_0, t_1, t_1, t_2, ..., and leaves
// out the first entries, although its scheduler counts entries: the first two that it sees make
// Heun's step, wherever they are in the list. So a run starts one step noisier than other
// samplers', and later moves begin one step below where x is. Where t_0 alone is left out, the
// first two entries are both t_1: Heun's step predicts from t_1 to t_2 and corrects with the move
// from t_0 to t_1.
SamplerPlan CompilePlmsFrom(const NoisePath& path, size_t left_out, const SamplerOptions& options);

// Luo et al. 2023. One slot.
SamplerPlan CompileLcm(const NoisePath& path, const SamplerOptions& options);

// Zheng et al. 2024. One slot. Requires a path that begins with a move towards less noise.
SamplerPlan CompileTcd(const NoisePath& path, const SamplerOptions& options);

// Song et al. 2021 (score-based): the variance-preserving SDE and its ODE. One slot.
SamplerPlan CompileVpSde(const NoisePath& path, const SamplerOptions& options);
// Song et al. 2023. One slot.
SamplerPlan CompileConsistency(const NoisePath& path, const SamplerOptions& options);

// Compiles the sampler that `options` names. Requires valid options (sampler_validation.h) and a
// path that is not empty. On extreme paths coefficients may not be finite; CompilePlan checks them.
SamplerPlan CompilePath(const NoisePath& path, const SamplerOptions& options);

// The evaluation that starts `move`, with its prediction and clip but without an update.
Evaluation StartEvaluation(const Move& move, const SamplerOptions& options);

// A plan without evaluations, with `slots` slots and the first and last level of the path.
SamplerPlan StartPlan(const NoisePath& path, int slots);

// The move from the end of `move`, for samplers that also evaluate the network there.
Move EndOf(const Move& move);

// gamma of Karras et al. 2022, algorithm 2: the fraction by which fresh noise raises sigma before
// one of `steps` steps.
double Churn(double sigma, size_t steps, const SamplerOptions& options);

// The noise that remains in x beside x0, clipped or not.
LinearForm NoiseIn(const NoiseLevel& level);

// Whether a solver expands the noise around its step's start, instead of the predicted x0.
bool ExpandsNoise(const SamplerOptions& options);

// What it expands, from the latest output of the network.
LinearForm ExpandedValue(const NoiseLevel& level, const SamplerOptions& options);

// With lower_order_final, DPM-Solver multistep and DEIS lower the order of the last two steps of
// whole runs that are shorter than this.
inline constexpr size_t kFewSteps = 15;

// The order of a step of DPM-Solver multistep or DEIS. Order p needs p - 1 earlier predictions. The
// last step has order 1 if its end has no noise (the expansion does not exist there) or if it does
// not move (sigma_min has been reached).
int MultistepOrder(const NoisePath& path, size_t step, const SamplerOptions& options);

// The same for samplers in sigma. Slot 0 is x / alpha = x0 + sigma * epsilon, where sigma is the
// level's ratio. For flow matching, which is a straight line already, slot 0 is x and sigma is the
// flow's. The network's input is x in both cases.
Evaluation StartSigmaEvaluation(const Move& move, const SamplerOptions& options);
double SigmaOf(const NoiseLevel& level, const SamplerOptions& options);
// The direction d slot 0 / dsigma at `sigma`: the noise that the network sees, or the flow's
// velocity.
LinearForm SigmaDirection(double sigma);
SamplerPlan StartSigmaPlan(const NoisePath& path, const SamplerOptions& options, int slots);

}  // namespace denoise
