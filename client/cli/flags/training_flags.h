// The flags of `denoise train` and `denoise evaluate`: one for each setting of the contract.
#pragma once

#include "client/cli/flags/message_flags.h"

namespace denoise {

// Of CreateTrainingJobRequest, as `train create` and `evaluate` fill it.
const FlagTable& TrainingFlags();
const FlagTable& EvaluationFlags();

// Of PublishModelRequest.
const FlagTable& PublishFlags();

}  // namespace denoise
