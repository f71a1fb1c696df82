// Some pictures of a data set side by side. Internal to core/data.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/data/data_set.h"
#include "core/data/data_set_report.h"

namespace denoise {

// A PNG of up to 64 pictures, as many of each class as there is room for, spread over the class, in
// the order of the classes. Cells have `size`, or its proportions where a side has more than 96
// pixels. There is a picture. `go_on` is asked before each picture: anything but OK ends it with that
// status.
absl::StatusOr<std::string> SampleSheet(const DataSet& data_set, const DataSetReport::Size& size,
                                        const std::function<absl::Status()>& go_on);

}  // namespace denoise
