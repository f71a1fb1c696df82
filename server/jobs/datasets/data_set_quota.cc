#include "server/jobs/datasets/data_set_quota.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/error_details.h"

namespace denoise {
namespace {

constexpr char kBytes[] = "datasets/bytes";
constexpr int64_t kRoomStep = 64 << 20;

}  // namespace

absl::Status CheckQuota(const denoised::v1::UploadHeader& header, const DataSetQuota& quota,
                        const DataSetUsage& usage) {
  if (header.total_bytes() > quota.data_set_bytes) {
    return QuotaExceeded(kBytes, absl::StrCat("a data set may have ", quota.data_set_bytes,
                                              " bytes; this one has ", header.total_bytes()));
  }
  if (usage.data_sets >= quota.data_sets) {
    return QuotaExceeded("datasets", absl::StrCat("there are already ", usage.data_sets,
                                                  " data sets, the maximum; delete one first"));
  }
  if (header.total_bytes() > (quota.total_bytes - usage.bytes) / 2) {
    return QuotaExceeded(
        kBytes, absl::StrCat("all data sets together may have ", quota.total_bytes, " bytes, and ",
                             usage.bytes, " are used; until it has been read, this one takes ",
                             2 * header.total_bytes(),
                             " for its upload and its pictures; delete some data sets first"));
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> RoomToStore(int64_t bytes, int64_t reserved, const DataSetQuota& quota,
                                    const DataSetUsage& usage) {
  if (bytes > quota.data_set_bytes) {
    return QuotaExceeded(kBytes,
                         absl::StrCat("its unpacked pictures take more than ", quota.data_set_bytes,
                                      " bytes, the maximum for a data set"));
  }
  const int64_t room = quota.total_bytes - usage.bytes + reserved;
  if (bytes > room) {
    return QuotaExceeded(
        kBytes,
        absl::StrCat("its unpacked pictures take more than the ", std::max<int64_t>(0, room),
                     " bytes that are left of the ", quota.total_bytes,
                     " for all data sets; delete some data sets and upload it again"));
  }
  return std::min({bytes + kRoomStep, quota.data_set_bytes, room});
}

}  // namespace denoise
