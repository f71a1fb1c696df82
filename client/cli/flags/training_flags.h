// The flags of `denoise train create` and `denoise evaluate`: one for each setting of the contract.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "client/cli/flags/message_flags.h"

namespace denoise {

// Of CreateTrainingJobRequest.
std::span<const MessageFlag> TrainingFlags();
std::span<const MessageFlag> EvaluationFlags();

// The flag that sets `field` of CreateTrainingJobRequest as one of the two commands has it; the field
// itself where none does. `field` may have an index ("training.ema_decays[1]"), and may be of the
// sampler of the samples that the command asks for.
std::string FlagOfTrainingField(std::string_view field);
std::string FlagOfEvaluationField(std::string_view field);

}  // namespace denoise
