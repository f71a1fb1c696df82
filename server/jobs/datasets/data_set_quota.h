// How much data sets may take on the disk. Pure.
//
// A data set takes its upload until it has been read, and what is stored of it from then on. Room for
// both is set aside when the upload begins, as much for one as for the other: what is stored of
// pictures has about the size of the upload that they came in. A compressed upload may store more,
// and takes more room while it is read, as long as there is some.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "denoised/v1/datasets.pb.h"

namespace denoise {

struct DataSetQuota {
  int data_sets = 100;
  int64_t total_bytes = int64_t{100} << 30;      // of all of them, on the disk
  int64_t data_set_bytes = int64_t{20} << 30;    // of one upload, and of what is stored of it
  absl::Duration upload_idle = absl::Hours(24);  // then an upload that broke off is removed
};

struct DataSetUsage {
  int data_sets = 0;
  int64_t bytes = 0;  // that are taken or set aside
};

// ResourceExhausted (quota) where a new data set does not fit.
absl::Status CheckQuota(const denoised::v1::UploadHeader& header, const DataSetQuota& quota,
                        const DataSetUsage& usage);

// What to set aside for what is stored of a data set that needs `bytes` for it now and has
// `set_aside`, which is less: that much or somewhat more, so that it does not ask for every picture.
// `usage` contains what it has. ResourceExhausted (quota) where there is no room.
absl::StatusOr<int64_t> RoomToStore(int64_t bytes, int64_t set_aside, const DataSetQuota& quota,
                                    const DataSetUsage& usage);

}  // namespace denoise
