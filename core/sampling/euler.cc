// Euler's method in sigma: algorithm 2 of Karras et al. 2022 without its second-order correction.
//
// For x / alpha = x0 + sigma * epsilon the probability flow ODE is dx / dsigma = (x - x0) / sigma,
// whose right-hand side is the noise that the network sees: a straight line as long as the
// prediction stays.
#include <algorithm>
#include <cmath>

#include "core/sampling/linear_form.h"
#include "core/sampling/noise_path.h"

namespace denoise {
namespace {

// gamma of algorithm 2: by how much of itself sigma is raised with fresh noise before the step.
double Churn(double sigma, size_t steps, const SamplerOptions& options) {
  if (sigma < options.s_tmin || sigma > options.s_tmax) return 0;
  return std::min(options.s_churn / static_cast<double>(steps), std::sqrt(2.0) - 1);
}

}  // namespace

// Algorithm 2 asks the network about the image after the fresh noise. Here, as in the library, the
// noise comes after the question: the step starts from the raised sigma along the direction seen
// below it.
SamplerPlan CompileEuler(const NoisePath& path, const SamplerOptions& options) {
  SamplerPlan plan = StartSigmaPlan(path, options, /*slots=*/1);
  for (const Move& move : path) {
    Evaluation evaluation = StartSigmaEvaluation(move, options);
    const double sigma = move.from.ratio();
    const double raised = sigma * (1 + Churn(sigma, path.size(), options));
    evaluation.update = UpdateMatrix({Slot(0) + (move.to.ratio() - raised) * SigmaDirection(move)});
    evaluation.noise = options.s_noise * std::sqrt(Square(raised) - Square(sigma));
    plan.evaluations.push_back(std::move(evaluation));
  }
  return plan;
}

}  // namespace denoise
