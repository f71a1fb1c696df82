// Calls Datasets.UploadDataset with bytes that a test has made.
#pragma once

#include <grpcpp/support/status.h>

#include <string>
#include <string_view>
#include <vector>

#include "denoised/v1/datasets.grpc.pb.h"

namespace denoise {

struct UploadResult {
  grpc::Status status;
  denoised::v1::Dataset data_set;
};

// Of an upload of `bytes` as datasets/NAME, from their beginning.
denoised::v1::UploadHeader UploadHeaderOf(const std::string& name,
                                          denoised::v1::DatasetFormat format,
                                          const std::string& bytes);

// The header, then what follows `header.offset` of `bytes`, in chunks.
std::vector<denoised::v1::UploadDatasetRequest> UploadMessages(
    const denoised::v1::UploadHeader& header, std::string_view bytes);

// Sends `messages`, as far as the server takes them, and waits for the answer.
UploadResult CallUpload(denoised::v1::Datasets::Stub& stub,
                        const std::vector<denoised::v1::UploadDatasetRequest>& messages);

// Uploads what must be accepted; the test ends here when it is not.
void UploadReady(denoised::v1::Datasets::Stub& stub, const std::string& name,
                 denoised::v1::DatasetFormat format, const std::string& bytes);

}  // namespace denoise
