// The nodes of a path, and the functions that lay them out. Internal to core/sampling.
#pragma once

#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "core/sampling/options/sampler_options.h"
#include "core/sampling/samplers/noise_path.h"
#include "core/sampling/schedules/vp_schedule.h"

namespace denoise {

// A timestep and the image's noise level there.
struct Node {
  double timestep;
  NoiseLevel level;
};

// The variance-preserving level with sigma / alpha = `ratio`.
NoiseLevel PreservingLevel(double ratio);

// The whole timestep at or below `timestep`, allowing for a rounding error.
double CutOff(double timestep);

struct SigmaRange {
  double log_max;
  double log_min;
  double rho = 7;  // Karras et al. 2022, table 1
};

// options.steps values of log sigma, descending over `range` and spaced by options.sigma_spacing:
// evenly, Karras or beta. sigma_min, sigma_max and rho in `options` replace those of the range.
// InvalidArgument if that leaves an empty range.
absl::StatusOr<std::vector<double>> SpaceLogSigmas(SigmaRange range, const SamplerOptions& options);

// Makes a move from every node to the next, and from the last to `end`. InvalidArgument if a node
// is not less noisy than the one before it.
absl::StatusOr<NoisePath> ConnectNodes(const std::vector<Node>& nodes, const Node& end,
                                       const SamplerOptions& options);

// InvalidArgument if one of options.sigmas is outside `range`.
absl::Status CheckSigmas(const SigmaRange& range, const SamplerOptions& options);

// Inserts a move up to more noise before each move that options.s_churn affects (Karras et al.
// 2022, algorithm 2). `node_at` finds a sigma in the schedule.
NoisePath AddChurn(const NoisePath& path, const SamplerOptions& options,
                   const std::function<Node(double log_sigma)>& node_at);

// Lays out a path over a variance-preserving schedule; see LayOutPath.
absl::StatusOr<NoisePath> LayOutVpPath(const VpSchedule& schedule, const SamplerOptions& options);

}  // namespace denoise
