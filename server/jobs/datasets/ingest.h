// core/data's reading of uploads, for the store.
#pragma once

#include <filesystem>

#include "core/data/data_set_report.h"
#include "denoised/v1/datasets.pb.h"
#include "server/jobs/datasets/data_set_reader.h"

namespace denoise {

// An IngestFunction: what a server reads uploads with.
IngestResult IngestUpload(denoised::v1::DatasetFormat format, const std::filesystem::path& upload,
                          const std::filesystem::path& stored, const GoOn& go_on);

denoised::v1::DatasetReport ReportToProto(const DataSetReport& report);

}  // namespace denoise
