// Some pictures of a data set side by side. Internal to core/data.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "core/data/data_set.h"
#include "core/data/data_set_report.h"

namespace denoise {

// A PNG of up to 64 pictures, as many of each class as there is room for, spread over the class, in
// the order of the classes. Cells have `size`, or its proportions where a side has more than 96
// pixels. There is a picture.
absl::StatusOr<std::string> SampleSheet(const DataSet& data_set, const DataSetReport::Size& size);

}  // namespace denoise
