// Writes models as folders in the diffusers layout.
#pragma once

#include <c10/core/ScalarType.h>

#include <filesystem>

#include "absl/status/status.h"
#include "core/io/parsed_model.h"

namespace denoise {

// Writes a folder that LoadCheckpoint and the Python library load, with weights of type `dtype`.
// The folder appears whole or not at all: it is written beside `folder`, synced and renamed.
//
// AlreadyExists: `folder` does. InvalidArgument: the weights are not those of the network.
// FailedPrecondition: a weight is too large for `dtype`. ResourceExhausted: the disk is full.
// Errors of the file system carry no path.
absl::Status WriteModel(const std::filesystem::path& folder, const ParsedModel& model,
                        at::ScalarType dtype = at::kFloat);

}  // namespace denoise
