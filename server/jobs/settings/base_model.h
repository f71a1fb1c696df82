// What a job starts from: a copy of a served model, or a new network.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "core/io/model_files.h"
#include "denoised/v1/datasets.pb.h"
#include "denoised/v1/training.pb.h"
#include "server/models/model.h"

namespace denoise {

// A new network for `data_set`, with random weights that `seed` alone chooses. Fills in what `network`
// leaves open. InvalidArgument has every violation, named from NewNetwork.
absl::StatusOr<ModelFiles> MakeNewModel(denoised::v1::NewNetwork& network,
                                        const denoised::v1::Dataset& data_set, uint64_t seed);

// What a server would know of the model, but for its networks and its version.
absl::StatusOr<Model> DescribeAsModel(const ModelFiles& files);

// InvalidArgument where the network would be trained otherwise than it was (CheckTrainable).
absl::Status CheckTrainable(const ModelFiles& files);

}  // namespace denoise
