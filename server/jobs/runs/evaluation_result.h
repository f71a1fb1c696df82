// Evaluations on the wire.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "core/evaluation/model_evaluation.h"
#include "denoised/v1/training.pb.h"

namespace denoise {

// The event of an evaluation; `step` is that of the training job, or 0. Encodes a picture, which is
// slow: not for a device's thread.
absl::StatusOr<denoised::v1::TrainingEvent> EvaluationEvent(int64_t step,
                                                            const ModelReport& report);

}  // namespace denoise
