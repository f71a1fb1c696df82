// The events that running jobs report, as messages of the contract.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "core/evaluation/model_evaluation.h"
#include "core/image/image.h"
#include "core/train/checkpoint_folder.h"
#include "denoised/v1/training.pb.h"

namespace denoise {

denoised::v1::TrainingEvent ProgressEvent(denoised::v1::TrainingProgress progress);

denoised::v1::TrainingEvent CheckpointEvent(int64_t job, const CheckpointFolder::Entry& entry,
                                            const std::vector<double>& ema_decays);

// These two encode a picture, which is slow: not for a device's thread. `step` is that of the
// training job; 0 for an evaluation job.
absl::StatusOr<denoised::v1::TrainingEvent> GridEvent(int64_t step,
                                                      const std::vector<Image>& pictures);
absl::StatusOr<denoised::v1::TrainingEvent> EvaluationEvent(int64_t step,
                                                            const ModelReport& report);

}  // namespace denoise
