// How a network is asked about x, and how its answer is read (Karras et al. 2022, eq. 7):
//
//     x0 = c_skip * x + c_out * F(c_in * x; timestep)
#pragma once

#include <optional>

#include "core/sampling/schedules/noise_level.h"

namespace denoise {

// What a network predicts.
enum class PredictionType {
  kEpsilon,
  kSample,                  // x0
  kVPrediction,             // alpha * epsilon - sigma * x0
  kFlowPrediction,          // epsilon - x0
  kInvertedFlowPrediction,  // x0 - epsilon
};

// Whether `type` is the velocity of a straight line between x0 and noise.
inline bool IsFlow(PredictionType type) {
  return type == PredictionType::kFlowPrediction || type == PredictionType::kInvertedFlowPrediction;
}

struct Scalings {
  double c_in = 1;
  double c_skip = 0;
  double c_out = 1;
};

// A network that sees x with unit variance and answers with unit variance (Karras et al. 2022,
// table 1). `boundary` is the sigma at which x0 is x whatever it says: 0, or the sigma_min of a
// consistency model (Song et al. 2023, appendix C).
struct Preconditioning {
  double sigma_data;
  double boundary = 0;
};

// The scalings at `level` of a network that predicts `type`. One without preconditioning sees x and
// says what `type` is of; one with it has EDM's F, whose sign v_prediction turns. `level.alpha` is 1
// then.
Scalings ScalingsAt(const NoiseLevel& level, PredictionType type,
                    const std::optional<Preconditioning>& preconditioning);

}  // namespace denoise
