// Euler's method in sigma: algorithm 2 of Karras et al. 2022 without its second-order correction,
// and its ancestral form.
//
// For x / alpha = x0 + sigma * epsilon the probability flow ODE is dx / dsigma = (x - x0) / sigma.
// Its right-hand side is the noise that the network sees: a straight line as long as the prediction
// stays the same. For flow matching's x = (1 - sigma) * x0 + sigma * epsilon it is the same line.
//
// The ancestral form is sample_euler_ancestral of k-diffusion (Crowson 2022). Each step moves from
// sigma_from below sigma_to, to sigma_down, and adds fresh noise of scale sigma_up:
// sigma_to^2 = sigma_down^2 + sigma_up^2. With sigma_up the deviation of the posterior
// q(x_to | x_from, x0), this is DDPM's step (Ho et al. 2020, eq. 7) for x / alpha.
#include <cmath>
#include <variant>

#include "core/sampling/samplers/linear_form.h"
#include "core/sampling/samplers/noise_path.h"

namespace denoise {
namespace {

// On EDM's schedule the library reads the network's output at sigma as if it had been made at
// `raised`, for the image with the fresh noise z: x0 = c_skip * (x + z) + c_out * F. The step leads
// from x + z along (x + z - x0) / raised. The plan's x0 lacks c_skip * z, which counts as noise.
void ReadAtRaised(const Move& move, double raised, const SamplerOptions& options,
                  Evaluation& evaluation) {
  const Scalings at_raised = ScalingsAt({1, raised}, options.prediction_type, move.preconditioning);
  evaluation.x0_from_state = at_raised.c_skip;
  evaluation.x0_from_output = at_raised.c_out;
  const double step = (move.to.sigma - raised) / raised;
  evaluation.update = UpdateMatrix({Slot(0) + step * (Slot(0) - X0())});
  evaluation.noise = std::get<double>(evaluation.noise) * (1 + step * (1 - at_raised.c_skip));
}

}  // namespace

// Algorithm 2 adds the fresh noise before it calls the network. Here, as in the library, the noise
// is added after the call: the step starts from the raised sigma, in the direction found below it.
SamplerPlan CompileEuler(const NoisePath& path, const SamplerOptions& options) {
  SamplerPlan plan = StartSigmaPlan(path, options, /*slots=*/1);
  for (const Move& move : path) {
    Evaluation evaluation = StartSigmaEvaluation(move, options);
    const double sigma = SigmaOf(move.from, options), to = SigmaOf(move.to, options);
    const double raised = sigma * (1 + Churn(sigma, path.size(), options));
    evaluation.update = UpdateMatrix({Slot(0) + (to - raised) * SigmaDirection(sigma)});
    evaluation.noise = options.s_noise * std::sqrt(Square(raised) - Square(sigma));
    if (move.preconditioning.has_value()) ReadAtRaised(move, raised, options, evaluation);
    plan.evaluations.push_back(std::move(evaluation));
  }
  return plan;
}

SamplerPlan CompileEulerAncestral(const NoisePath& path, const SamplerOptions& options) {
  SamplerPlan plan = StartSigmaPlan(path, options, /*slots=*/1);
  for (const Move& move : path) {
    Evaluation evaluation = StartSigmaEvaluation(move, options);
    const double from = move.from.ratio();
    const double to = move.to.ratio();
    const double shrink = to / from;
    const double sigma_down = to * shrink;
    const double sigma_up = to * std::sqrt(1 - shrink * shrink);
    evaluation.update = UpdateMatrix({Slot(0) + (sigma_down - from) * SigmaDirection(from)});
    evaluation.noise = sigma_up;
    plan.evaluations.push_back(std::move(evaluation));
  }
  return plan;
}

}  // namespace denoise
