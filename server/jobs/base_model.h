// What a job starts from: a copy of a served model, or a new network.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "core/io/model_files.h"
#include "denoised/v1/datasets.pb.h"
#include "denoised/v1/training.pb.h"

namespace denoise {

// The default of everything that is absent. Violations are named from NewNetwork.
absl::StatusOr<denoised::v1::NewNetwork> ResolveNewNetwork(denoised::v1::NewNetwork network,
                                                           const denoised::v1::Dataset& data_set);

// A network of resolved settings with random weights, which `seed` alone chooses.
absl::StatusOr<ModelFiles> MakeNewModel(const denoised::v1::NewNetwork& network,
                                        const denoised::v1::Dataset& data_set, uint64_t seed);

}  // namespace denoise
