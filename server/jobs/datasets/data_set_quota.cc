#include "server/jobs/datasets/data_set_quota.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/error_details.h"

namespace denoise {
namespace {

constexpr char kBytes[] = "datasets/bytes";
constexpr int64_t kRoomAtATime = 64 << 20;

}  // namespace

absl::Status CheckQuota(const denoised::v1::UploadHeader& header, const DataSetQuota& quota,
                        const DataSetUsage& usage) {
  if (header.total_bytes() > quota.data_set_bytes) {
    return QuotaExceeded(kBytes, absl::StrCat("a data set may have ", quota.data_set_bytes,
                                              " bytes; this one has ", header.total_bytes()));
  }
  if (usage.data_sets >= quota.data_sets) {
    return QuotaExceeded("datasets", absl::StrCat("there are ", usage.data_sets,
                                                  " data sets, as many as may be; delete one"));
  }
  if (header.total_bytes() > (quota.total_bytes - usage.bytes) / 2) {
    return QuotaExceeded(
        kBytes, absl::StrCat("all data sets may have ", quota.total_bytes, " bytes, ", usage.bytes,
                             " of which are used; until it has been read this one takes ",
                             2 * header.total_bytes(), ", for its upload and for its pictures"));
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> RoomToStore(int64_t bytes, int64_t set_aside, const DataSetQuota& quota,
                                    const DataSetUsage& usage) {
  if (bytes > quota.data_set_bytes) {
    return QuotaExceeded(kBytes,
                         absl::StrCat("its pictures take more than ", quota.data_set_bytes,
                                      " bytes once they are unpacked, the most that is stored of "
                                      "a data set"));
  }
  const int64_t room = quota.total_bytes - usage.bytes + set_aside;
  if (bytes > room) {
    return QuotaExceeded(
        kBytes, absl::StrCat("its pictures take more than the ", std::max<int64_t>(0, room),
                             " bytes that are left of the ", quota.total_bytes,
                             " that all data sets may have; delete some and upload it again"));
  }
  return std::min({bytes + kRoomAtATime, quota.data_set_bytes, room});
}

}  // namespace denoise
