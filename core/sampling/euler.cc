// Euler's method in sigma: algorithm 2 of Karras et al. 2022 without its second-order correction.
//
// For x / alpha = x0 + sigma * epsilon the probability flow ODE is dx / dsigma = (x - x0) / sigma,
// whose right-hand side is the noise that the network sees: a straight line as long as the
// prediction stays.
#include <algorithm>
#include <cmath>
#include <variant>

#include "core/sampling/linear_form.h"
#include "core/sampling/noise_path.h"

namespace denoise {
namespace {

double Square(double x) { return x * x; }

// gamma of algorithm 2: by how much of itself sigma is raised with fresh noise before the step.
double Churn(double sigma, size_t steps, const SamplerOptions& options) {
  if (sigma < options.s_tmin || sigma > options.s_tmax) return 0;
  return std::min(options.s_churn / static_cast<double>(steps), std::sqrt(2.0) - 1);
}

// The step from `raised` along the direction seen below it.
void StepFromRaised(const Move& move, double raised, Evaluation& evaluation) {
  evaluation.update = UpdateMatrix({Slot(0) + (move.to.ratio() - raised) * SigmaDirection(move)});
}

// As the library does it on EDM's schedule: what the network said at sigma is read at `raised`, from
// the image with the fresh noise in it. The noise z of the step moves along with that image, so that
// of x + z, of which c_skip is taken for x0, remain
//
//     x + z + (to - raised) * (x + z - x0) / raised,  x0 = c_skip * (x + z) + c_out * F
void StepReadAtRaised(const Move& move, double raised, const SamplerOptions& options,
                      Evaluation& evaluation) {
  const Scalings at_raised = ScalingsAt({1, raised}, options.prediction_type, move.preconditioning);
  evaluation.x0_from_state = at_raised.c_skip;
  evaluation.x0_from_output = at_raised.c_out;
  const double step = (move.to.ratio() - raised) / raised;
  evaluation.update = UpdateMatrix({Slot(0) + step * (Slot(0) - X0())});
  evaluation.noise = std::get<double>(evaluation.noise) * (1 + step * (1 - at_raised.c_skip));
}

}  // namespace

// Algorithm 2 asks the network about the image after the fresh noise. Here, as in the library, the
// noise comes after the question.
SamplerPlan CompileEuler(const NoisePath& path, const SamplerOptions& options) {
  SamplerPlan plan = StartSigmaPlan(path, options, /*slots=*/1);
  for (const Move& move : path) {
    Evaluation evaluation = StartSigmaEvaluation(move, options);
    const double sigma = move.from.ratio();
    const double raised = sigma * (1 + Churn(sigma, path.size(), options));
    evaluation.noise = options.s_noise * std::sqrt(Square(raised) - Square(sigma));
    if (move.preconditioning.has_value()) {
      StepReadAtRaised(move, raised, options, evaluation);
    } else {
      StepFromRaised(move, raised, evaluation);
    }
    plan.evaluations.push_back(std::move(evaluation));
  }
  return plan;
}

}  // namespace denoise
