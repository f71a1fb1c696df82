#include "server/rpc/call.h"

#include <grpc/support/time.h>

#include "server/telemetry/log.h"

namespace denoise {
namespace {

// Each side watches the deadline by its own clock: the caller's may end the call a little before
// ours has come to it.
constexpr absl::Duration kDeadlineSlack = absl::Milliseconds(100);

}  // namespace

absl::Time DeadlineOf(const grpc::CallbackServerContext& context) {
  // Not context.deadline(): its nanoseconds wrap around for a timeout of some centuries.
  const gpr_timespec deadline = context.raw_deadline();
  if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0)
    return absl::InfiniteFuture();
  const gpr_timespec wall = gpr_convert_clock_type(deadline, GPR_CLOCK_REALTIME);
  return absl::FromUnixSeconds(wall.tv_sec) + absl::Nanoseconds(wall.tv_nsec);
}

absl::Status WithDeadline(const absl::Status& status, absl::Time deadline, absl::Time now) {
  if (!absl::IsCancelled(status) || now + kDeadlineSlack < deadline) return status;
  return absl::DeadlineExceededError("the deadline has passed");
}

void LogRefusal(const CallRecord& record, const absl::Status& status) {
  LogEvent(LevelOf(status), "request refused",
           {{"request", record.id()},
            {"trace_id", record.trace_id()},
            {"code", absl::StatusCodeToString(status.code())},
            {"message", std::string(status.message())}});
}

absl::Status CallerGone() { return absl::CancelledError("the caller has gone"); }

}  // namespace denoise
