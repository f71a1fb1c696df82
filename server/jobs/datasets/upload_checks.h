// Checks of upload requests. Pure functions. Fields are named from UploadDatasetRequest.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "denoised/v1/datasets.pb.h"
#include "server/jobs/datasets/data_set_rows.h"

namespace denoise {

// InvalidArgument lists every violation.
absl::Status CheckUploadHeader(const denoised::v1::UploadHeader& header);

// A chunk that comes after `received_bytes`. InvalidArgument: empty or too long. DataLoss, with
// `received_bytes` as metadata: the checksum is wrong.
absl::Status CheckChunk(const denoised::v1::UploadChunk& chunk, int64_t received_bytes);

// FailedPrecondition, with `received_bytes` as metadata: the upload does not continue there.
absl::Status CheckOffset(const denoised::v1::UploadHeader& header, int64_t received_bytes);

// Whether the call may continue an upload that exists. AlreadyExists; FailedPrecondition as above.
absl::Status CheckContinues(const denoised::v1::UploadHeader& header, const DataSetRow& row);

}  // namespace denoise
