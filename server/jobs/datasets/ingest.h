// Reads uploads with core/data.
#pragma once

#include <cstdint>
#include <filesystem>

#include "denoised/v1/datasets.pb.h"
#include "server/jobs/datasets/data_set_reader.h"

namespace denoise {

// The IngestFunction of a server that reads pictures of at most `max_picture_pixels` pixels.
IngestFunction IngestUploadsWith(int64_t max_picture_pixels);

// The same with the default of core/data.
IngestResult IngestUpload(denoised::v1::DatasetFormat format, const std::filesystem::path& upload,
                          const std::filesystem::path& stored,
                          const IngestProgressFunction& progress);

}  // namespace denoise
