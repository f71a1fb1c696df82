// Reads uploads with core/data.
#pragma once

#include <filesystem>

#include "denoised/v1/datasets.pb.h"
#include "server/jobs/datasets/data_set_reader.h"

namespace denoise {

// The IngestFunction of a server.
IngestResult IngestUpload(denoised::v1::DatasetFormat format, const std::filesystem::path& upload,
                          const std::filesystem::path& stored,
                          const IngestProgressFunction& progress);

}  // namespace denoise
