// The flags of `denoise train` and `denoise evaluate`: one for each setting of the contract.
#pragma once

#include "client/cli/flags/message_flags.h"

namespace denoise {

// Of CreateTrainingJobRequest, as `train create` and `evaluate` fill it.
const FlagTable& TrainingFlags();
const FlagTable& EvaluationFlags();

// What goes with what among TrainingFlags, besides what the oneofs of the request say. `app` has
// them all.
void RelateTrainingFlags(CLI::App& app);

// Of PublishModelRequest.
const FlagTable& PublishFlags();

}  // namespace denoise
