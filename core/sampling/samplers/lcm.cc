// Latent consistency models (Luo et al. 2023): the network, distilled so that any noisy image maps
// to its end in one call, is asked at a few levels; between two of them fresh noise is added (Song
// et al. 2023, algorithm 1).
#include <cmath>

#include "core/sampling/samplers/linear_form.h"
#include "core/sampling/samplers/noise_path.h"

namespace denoise {
namespace {

constexpr double kSigmaData = 0.5;

// The consistency function c_skip * x + c_out * x0, which is x itself at timestep 0 (Luo et al.
// 2023, section 4.1; the timestep scaled as the library does).
LinearForm ConsistencyFunction(double timestep, double timestep_scaling) {
  const double scaled = timestep * timestep_scaling;
  const double length = std::hypot(scaled, kSigmaData);
  const double c_skip = Square(kSigmaData / length);
  const double c_out = scaled / length;
  return c_skip * Slot(0) + c_out * X0();
}

}  // namespace

SamplerPlan CompileLcm(const NoisePath& path, const SamplerOptions& options) {
  SamplerPlan plan = StartPlan(path, /*slots=*/1);
  for (const Move& move : path) {
    Evaluation evaluation = StartEvaluation(move, options);
    const LinearForm image = ConsistencyFunction(move.timestep, options.timestep_scaling);
    evaluation.update = UpdateMatrix({move.to.alpha * image});
    evaluation.noise = move.to.sigma;
    plan.evaluations.push_back(std::move(evaluation));
  }
  return plan;
}

}  // namespace denoise
