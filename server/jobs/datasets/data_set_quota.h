// How much disk space data sets may take. Pure functions.
//
// A data set takes the space of its upload until that has been read, and the space of its stored
// pictures afterwards. When the upload begins, the same amount is reserved for both, because stored
// pictures are about as large as the upload that they came in. A compressed upload may need more,
// and reserves it while it is being read, as long as there is some.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "denoised/v1/datasets.pb.h"

namespace denoise {

struct DataSetQuota {
  int data_sets = 100;
  int64_t total_bytes = int64_t{100} << 30;      // of all data sets together
  int64_t data_set_bytes = int64_t{20} << 30;    // of one upload, and of its stored pictures
  absl::Duration upload_idle = absl::Hours(24);  // after which an interrupted upload is removed
};

struct DataSetUsage {
  int data_sets = 0;
  int64_t bytes = 0;  // taken or reserved
};

// ResourceExhausted (quota): the new data set does not fit.
absl::Status CheckQuota(const denoised::v1::UploadHeader& header, const DataSetQuota& quota,
                        const DataSetUsage& usage);

// How much to reserve for the stored pictures of a data set that needs `bytes` now and has reserved
// less. Somewhat more than it needs, so that it does not have to ask for every picture. `usage`
// includes what it has. ResourceExhausted (quota): there is no room.
absl::StatusOr<int64_t> RoomToStore(int64_t bytes, int64_t reserved, const DataSetQuota& quota,
                                    const DataSetUsage& usage);

}  // namespace denoise
