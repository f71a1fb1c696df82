// Whether what a BatchSource hands out may be given to a network.
#pragma once

#include "absl/status/status.h"
#include "core/nn/network.h"
#include "core/train/objective.h"

namespace denoise {

// `rows` are on the CPU. InvalidArgument unless they are `count` pictures of the shape and with the
// labels that a network like `spec` takes: a label out of range would take a GPU down.
absl::Status CheckRows(const TrainingRows& rows, int64_t count, const NetworkSpec& spec);

}  // namespace denoise
