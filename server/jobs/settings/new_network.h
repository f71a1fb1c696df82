// New networks of training jobs.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "core/io/parsed_model.h"
#include "denoised/v1/datasets.pb.h"
#include "denoised/v1/training_settings.pb.h"

namespace denoise {

// A new network for `data_set`, with random weights that depend on `seed` alone. Fills in the
// defaults of `network`. InvalidArgument lists every violation, named from NewNetwork.
absl::StatusOr<ParsedModel> MakeNewModel(denoised::v1::NewNetwork& network,
                                         const denoised::v1::Dataset& data_set, uint64_t seed);

}  // namespace denoise
