// Calls Datasets.UploadDataset with bytes that a test has made.
#pragma once

#include <grpcpp/support/status.h>

#include <string>
#include <string_view>

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

// Sends the header, then what follows `header.offset` of `bytes`, and waits for the answer.
UploadResult CallUpload(denoised::v1::Datasets::Stub& stub,
                        const denoised::v1::UploadHeader& header, std::string_view bytes);

// Uploads what must be accepted; the test ends here when it is not.
void UploadReady(denoised::v1::Datasets::Stub& stub, const std::string& name,
                 denoised::v1::DatasetFormat format, const std::string& bytes);

}  // namespace denoise
