// What a call that uploads may say. Pure. Fields are named from UploadDatasetRequest.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "denoised/v1/datasets.pb.h"
#include "server/jobs/datasets/data_set_rows.h"

namespace denoise {

// InvalidArgument, with everything that is wrong.
absl::Status CheckUploadHeader(const denoised::v1::UploadHeader& header);

// InvalidArgument (empty or too long), DataLoss (its checksum).
absl::Status CheckChunk(const denoised::v1::UploadChunk& chunk);

// FailedPrecondition, with metadata `received_bytes`, where the call does not begin there.
absl::Status CheckOffset(const denoised::v1::UploadHeader& header, int64_t received_bytes);

// Whether the call may go on with a data set that exists. AlreadyExists; FailedPrecondition as above.
absl::Status CheckContinues(const denoised::v1::UploadHeader& header, const DataSetRow& row);

}  // namespace denoise
