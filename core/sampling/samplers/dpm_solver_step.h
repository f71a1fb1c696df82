// One step of DPM-Solver (Lu et al. 2022a) or DPM-Solver++ (Lu et al. 2022b): what the multistep
// and the singlestep forms share. Internal to core/sampling.
//
// With lambda = log(alpha / sigma) the diffusion ODE has an exact solution but for one integral, of
// the predicted noise against e^-lambda (DPM-Solver) or of the predicted x0 against e^lambda
// (DPM-Solver++). The prediction is expanded around the step's start s, and the integral is taken
// term by term:
//
//     x_t = state * x_s + d0 * D0 + d1 * D1 + d2 * D2
//
// D0 is the prediction at s, D1 and D2 are its first and second derivative in lambda times h and
// h^2, h being the step's length in lambda.
#pragma once

#include "core/sampling/samplers/linear_form.h"
#include "core/sampling/samplers/noise_path.h"

namespace denoise {

struct StepWeights {
  double state = 0;
  double d0 = 0;
  double d1 = 0;
  double d2 = 0;
  double noise = 0;  // the deviation of what the stochastic form adds
};

// For a step from `s` to `t`. Order 1 has no d1 and d2, and holds for a step to no noise, too,
// where h is infinite. The stochastic form has no d2.
StepWeights DpmSolverWeights(const NoiseLevel& s, const NoiseLevel& t, int order,
                             const SamplerOptions& options);

// What is expanded: the predicted x0, or the noise that it leaves in x.
LinearForm ModelValue(const NoiseLevel& level, const SamplerOptions& options);

}  // namespace denoise
