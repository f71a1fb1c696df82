// The points that a path goes through, and what the families lay them out with. Internal to
// core/sampling.
#pragma once

#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "core/sampling/options/sampler_options.h"
#include "core/sampling/samplers/noise_path.h"

namespace denoise {

// A sampled timestep and the noise level the image has there.
struct Node {
  double timestep;
  NoiseLevel level;
};

// The level whose sigma / alpha is `ratio`, scaled to preserve variance.
NoiseLevel PreservingLevel(double ratio);

// The whole timestep at or below. A value a rounding error below a whole one counts as that.
double CutOff(double timestep);

struct SigmaRange {
  double log_max;
  double log_min;
  double rho = 7;  // Karras et al. 2022, table 1
};

// options.steps values of log sigma down `range`, spaced as options.sigma_spacing says: evenly,
// Karras or beta. What options say of sigma_min, sigma_max and rho takes the place of the range's.
// InvalidArgument where that leaves nothing between them.
absl::StatusOr<std::vector<double>> SpaceLogSigmas(SigmaRange range, const SamplerOptions& options);

// A move from every node to the next, and from the last to `end`. InvalidArgument where two nodes
// have the same level.
absl::StatusOr<NoisePath> ConnectNodes(const std::vector<Node>& nodes, const Node& end,
                                       const SamplerOptions& options);

// InvalidArgument where one of options.sigmas lies outside `range`.
absl::Status CheckSigmas(const SigmaRange& range, const SamplerOptions& options);

// `path` with a move up to more noise before each move that options.s_churn concerns (Karras et al.
// 2022, algorithm 2). `node_at` says where the schedule has a sigma.
NoisePath AddChurn(const NoisePath& path, const SamplerOptions& options,
                   const std::function<Node(double log_sigma)>& node_at);

}  // namespace denoise
