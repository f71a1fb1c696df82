#include "server/jobs/runs/run_end.h"

#include "core/base/error_details.h"
#include "core/base/retry.h"
#include "core/ranks/rank_group.h"

namespace denoise {

RunEnd EndOfWork(const absl::Status& status) {
  if (GetErrorReason(status) == kDeviceFailedReason) {
    return {RunEnd::Kind::kDevice,
            "its device has failed: it continues from what it has saved, on another device or once "
            "the server has been restarted"};
  }
  if (GetErrorReason(status) == kRankLostReason) {
    return {RunEnd::Kind::kRanks,
            "another machine that trained it was lost: it continues from what it has saved"};
  }
  switch (status.code()) {
    case absl::StatusCode::kAborted:
      return {RunEnd::Kind::kNonFinite, std::string(status.message())};
    case absl::StatusCode::kUnavailable:
      return {RunEnd::Kind::kDisk, "the data set cannot be read now"};
    case absl::StatusCode::kDataLoss:
      return {RunEnd::Kind::kFailed, "a picture of the data set is damaged"};
    case absl::StatusCode::kResourceExhausted:
      return {RunEnd::Kind::kFailed,
              "the device does not have enough memory; a smaller micro_batch_size takes less"};
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
      return {RunEnd::Kind::kFailed, std::string(status.message())};
    default:
      return {RunEnd::Kind::kFailed, "the device failed"};
  }
}

RunEnd EndOfWriting(const absl::Status& status) {
  if (absl::IsResourceExhausted(status) || absl::IsUnavailable(status)) {
    return {RunEnd::Kind::kDisk, std::string(status.message())};
  }
  return {RunEnd::Kind::kFailed, "the results of the job could not be written"};
}

absl::Status DeviceStatus(const absl::Status& status) {
  if (!absl::IsResourceExhausted(status)) return status;
  return absl::FailedPreconditionError(EndOfWork(status).reason);
}

}  // namespace denoise
