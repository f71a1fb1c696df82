// Ancestral sampling with Euler steps in sigma: sample_euler_ancestral of k-diffusion (Crowson
// 2022).
//
// Each step moves from sigma_from below sigma_to, to sigma_down, and adds fresh noise of scale
// sigma_up back up: sigma_to^2 = sigma_down^2 + sigma_up^2. With sigma_up the deviation of the
// posterior q(x_to | x_from, x0), this is DDPM's step (Ho et al. 2020, eq. 7) for x / alpha.
#include <cmath>

#include "core/sampling/samplers/linear_form.h"
#include "core/sampling/samplers/noise_path.h"

namespace denoise {

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
