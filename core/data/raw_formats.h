// Readers of uploads without picture files: the binary version of CIFAR-10 (Krizhevsky 2009), and
// the IDX files of MNIST (LeCun et al. 1998) and its successors. Internal to core/data.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "core/data/byte_source.h"
#include "core/data/upload_reader.h"

namespace denoise {

std::unique_ptr<UploadReader> MakeCifarReader(std::unique_ptr<ByteSource> records);

// `open` opens the uncompressed files, pictures first, then perhaps labels. They are opened twice:
// the labels, one byte per picture, are read before everything else.
absl::StatusOr<std::unique_ptr<UploadReader>> OpenIdxReader(const OpenBytes& open,
                                                            const UploadLimits& limits);

}  // namespace denoise
