#include "server/jobs/runs/run_end.h"

#include <gtest/gtest.h>

#include "core/base/error_details.h"
#include "core/base/retry.h"
#include "core/ranks/rank_group.h"

namespace denoise {
namespace {

using Kind = RunEnd::Kind;

TEST(RunEnd, WorkEndsForReasonsThatACallerUnderstands) {
  EXPECT_EQ(EndOfWork(absl::AbortedError("10 steps in a row")),
            (RunEnd{Kind::kNonFinite, "10 steps in a row"}));
  EXPECT_EQ(EndOfWork(absl::UnavailableError("/secret")).kind, Kind::kDisk);
  EXPECT_EQ(EndOfWork(DeviceFailedError()).kind, Kind::kDevice);
  EXPECT_EQ(EndOfWork(WithErrorReason(absl::UnavailableError("/secret"), kRankLostReason)),
            (RunEnd{Kind::kRanks,
                    "another machine that trained it was lost: it continues from what it has "
                    "saved"}));
  EXPECT_EQ(EndOfWork(absl::ResourceExhaustedError("CUDA out of memory at 0x7f")).kind,
            Kind::kFailed);
  EXPECT_EQ(EndOfWork(absl::InternalError("/secret/path")),
            (RunEnd{Kind::kFailed, "the device failed"}));
  EXPECT_EQ(EndOfWork(absl::DataLossError("/secret/path")),
            (RunEnd{Kind::kFailed, "a picture of the data set is damaged"}));
}

TEST(RunEnd, TheDiskMayRecoverAndABugMayNot) {
  EXPECT_EQ(EndOfWriting(absl::ResourceExhaustedError("the server's disk is full")),
            (RunEnd{Kind::kDisk, "the server's disk is full"}));
  EXPECT_EQ(EndOfWriting(absl::UnavailableError("not now")).kind, Kind::kDisk);
  EXPECT_EQ(EndOfWriting(absl::InternalError("SQLite: ...")).kind, Kind::kFailed);
}

TEST(RunEnd, MemoryOfTheDeviceIsNotRoomOnTheDisk) {
  EXPECT_EQ(DeviceStatus(absl::ResourceExhaustedError("x")).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(DeviceStatus(absl::AbortedError("x")), absl::AbortedError("x"));
}

}  // namespace
}  // namespace denoise
