// Euler's method in sigma: algorithm 2 of Karras et al. 2022 without its second-order correction.
//
// For x / alpha = x0 + sigma * epsilon the probability flow ODE is dx / dsigma = (x - x0) / sigma,
// whose right-hand side is the noise that the network sees: a straight line as long as the
// prediction stays. Of flow matching's x = (1 - sigma) * x0 + sigma * epsilon it is the same line.
#include <cmath>
#include <variant>

#include "core/sampling/samplers/linear_form.h"
#include "core/sampling/samplers/noise_path.h"

namespace denoise {
namespace {

// As the library does it on EDM's schedule: what the network said at sigma is read at `raised`, from
// the image with the fresh noise z in it, x0 = c_skip * (x + z) + c_out * F, and the step leads from
// x + z along (x + z - x0) / raised. The plan's x0 is without c_skip * z, which counts as noise.
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

// Algorithm 2 asks the network about the image after the fresh noise. Here, as in the library, the
// noise comes after the question: the step starts from the raised sigma along the direction seen
// below it.
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

}  // namespace denoise
