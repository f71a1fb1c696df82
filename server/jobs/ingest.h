// core/data's reading of uploads, for the store.
#pragma once

#include "core/data/data_set_report.h"
#include "denoised/v1/datasets.pb.h"
#include "server/jobs/data_set_reader.h"

namespace denoise {

// What a server reads uploads with.
IngestFunction IngestUploads();

denoised::v1::DatasetReport ReportToProto(const DataSetReport& report);

}  // namespace denoise
