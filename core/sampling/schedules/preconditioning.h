// What a network predicts, how its input is scaled and how its output is read (Karras et al. 2022,
// eq. 7):
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

// Of a network whose input and output have unit variance (Karras et al. 2022, table 1). `boundary`
// is the sigma at which x0 is x whatever the output: 0, or the sigma_min of a consistency model
// (Song et al. 2023, appendix C).
struct Preconditioning {
  double sigma_data;
  double boundary = 0;
};

// The scalings at `level` of a network that predicts `type`. Without preconditioning its input is x
// and its output is what `type` names. With preconditioning its output is EDM's F, with the
// opposite sign for v_prediction, and `level.alpha` is 1.
Scalings ScalingsAt(const NoiseLevel& level, PredictionType type,
                    const std::optional<Preconditioning>& preconditioning);

}  // namespace denoise
