// Gaussian data and mixtures of it, for which the best denoiser, the flow of the diffusion ODE and
// what a sampler makes of it are known in closed form.
#pragma once

#include <optional>
#include <vector>

#include "core/sampling/samplers/noise_path.h"
#include "tests/core/sampling/samplers/plan_replay.h"

namespace denoise {

struct Gaussian {
  double mean = 0;
  double deviation = 1;
};

// What alpha * x0 + sigma * epsilon is distributed like.
Gaussian Noised(const Gaussian& data, const NoiseLevel& level);

// E[x0 | x]
double Denoise(const Gaussian& data, const NoiseLevel& level, double x);

// Equal parts of Gaussians. Their best denoiser has a closed form, too, and so has the distribution
// at every level, whose quantiles the flow of the ODE follows.
using Mixture = std::vector<Gaussian>;

double Denoise(const Mixture& data, const NoiseLevel& level, double x);
double CumulativeProbability(const Mixture& data, const NoiseLevel& level, double x);
double Quantile(const Mixture& data, const NoiseLevel& level, double probability);

// What a network says that predicts `x0` of x.
double OutputFor(double x0, PredictionType type, const NoiseLevel& seen, double x);

// What a perfect network says of x, at the level that it sees.
double PerfectOutput(const Gaussian& data, PredictionType type, const NoiseLevel& seen, double x);

// What a network says of `input` that `evaluation` reads as `x0`: for networks with
// preconditioning.
double OutputReadAs(double x0, const Evaluation& evaluation, double input);

// The level that the network sees.
NoiseLevel SeenLevel(const Evaluation& evaluation);

// The level whose log(alpha / sigma) is `lambda`, preserving variance.
NoiseLevel LevelOfLambda(double lambda);

// What a run of `plan` from slot 0 distributed like `start` makes of `data` with a perfect network:
// every evaluation is affine in the slots, so that their joint distribution stays Gaussian and
// needs no draws. Requires a plan without clips and learned variance. Without a type the network
// says what the plan reads as the best x0.
Gaussian DistributionAfter(const SamplerPlan& plan, const Gaussian& start, const Gaussian& data,
                           std::optional<PredictionType> type);

}  // namespace denoise
