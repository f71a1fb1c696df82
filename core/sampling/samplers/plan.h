// A sampler, compiled for one request: a table of small matrices.
//
// Every sampler here is linear in its state. For each evaluation of a trajectory with K state slots
// S (S[0] is x, the noisy image):
//
//     network input   input_scale * S[0]  at `timestep`
//     prediction      x0 = x0_from_state * S[0] + x0_from_output * m
//     update          S' = update * [S ; x0 ; m] + noise * z
//
// where m is the guided network output, x0 is clipped or thresholded by `clip`, and z is standard
// normal and only added to S[0].
//
// A plan is computed once per request, on the host, in double precision. It is immutable and
// shared. The update has a column for m because a clipped x0 does not determine the raw output. See
// ARCHITECTURE.md, "A sampler is a table".
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/sampling/schedules/noise_level.h"

namespace denoise {

// No sampler here has more slots (PRK needs 6).
inline constexpr int kMaxSlots = 6;

// x0 is clamped to [min, max].
struct StaticClip {
  double min;
  double max;
};

// Dynamic thresholding (Saharia et al. 2022, section 2.3): s is the `ratio` quantile of |x0| over
// one image, clamped to [1, max_value]; x0 is clamped to [-s, s] and divided by s.
struct DynamicThreshold {
  double ratio;
  double max_value;
};

using Clip = std::variant<std::monostate, StaticClip, DynamicThreshold>;

// The standard deviation is exp(0.5 * log_variance), log_variance blended per element between the
// two bounds by (v + 1) / 2, where v is the second half of the network's channels (Nichol &
// Dhariwal 2021, eq. 15).
struct LearnedRange {
  double log_variance_min;
  double log_variance_max;
};

// The second half of the network's channels is the variance itself.
struct LearnedVariance {};

using NoiseScale = std::variant<double, LearnedRange, LearnedVariance>;

// Row-major, small.
class SmallMatrix {
 public:
  SmallMatrix() = default;
  SmallMatrix(int rows, int columns)
      : rows_(rows), columns_(columns), values_(rows * columns, 0.0) {}

  int rows() const { return rows_; }
  int columns() const { return columns_; }
  double& operator()(int row, int column) { return values_[row * columns_ + column]; }
  double operator()(int row, int column) const { return values_[row * columns_ + column]; }

 private:
  int rows_ = 0;
  int columns_ = 0;
  std::vector<double> values_;
};

// One network evaluation of one trajectory, as coefficients.
struct Evaluation {
  double timestep = 0;       // the network's input
  double input_scale = 1;    // network input = input_scale * slot[0]
  double x0_from_state = 0;  // x0 = x0_from_state * slot[0] + x0_from_output * output
  double x0_from_output = 0;
  Clip clip;               // applied to x0
  SmallMatrix update;      // K x (K + 2): slots' = update * [slots..., x0, output]
  NoiseScale noise = 0.0;  // added to slot[0] afterwards; drawn exactly if AddsNoise()
  // The level of slot[0] before this evaluation, x = alpha * x0 + sigma * epsilon: for display,
  // frames and the guidance interval.
  double alpha = 1;
  double sigma = 0;
  bool ends_step = true;  // a frame may be shown after this evaluation
};

struct SamplerPlan {
  double init_noise_scale = 1;  // slot[0] starts as init_noise_scale * standard normal noise
  int slots = 1;                // K
  std::vector<Evaluation> evaluations;
  double final_alpha = 1;  // the levels after the last evaluation
  double final_sigma = 0;
  int first_step = 0;      // steps of the sampler that this plan leaves out at the start (run.h)
  int draws_left_out = 0;  // noise draws of those steps
  int jumps = 0;           // back to noise on the way (run.h)

  NoiseLevel LevelAfter(size_t e) const;  // of slot[0] after evaluation `e`

  // Whether some evaluation reads the second half of the network's channels.
  bool NeedsLearnedVariance() const;
  int NumSteps() const;  // evaluations that end a step
};

// Whether a trajectory draws noise after this evaluation: a scale of exactly 0 draws nothing.
bool AddsNoise(const Evaluation& evaluation);

// The plan as JSON, exactly as the engine uses it, with 17 significant digits. docs/plan.md
// documents the fields.
std::string PlanToJson(const SamplerPlan& plan);

}  // namespace denoise
