// `denoise new-model`: writes a model of a published shape with random weights.
#pragma once

#include "server/checkpoints/checkpoint_command.h"

namespace CLI {
class App;
}

namespace denoise {

// Adds the command's flags to `app`, which must not outlive the call's result.
CheckpointCommand AddNewModel(CLI::App& app);

}  // namespace denoise
