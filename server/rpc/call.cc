#include "server/rpc/call.h"

#include <chrono>

namespace denoise {
namespace {

// Each side watches the deadline by its own clock: the caller's may end the call a little before
// ours has come to it.
constexpr absl::Duration kDeadlineSlack = absl::Milliseconds(100);

}  // namespace

absl::Time DeadlineOf(const grpc::CallbackServerContext& context) {
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return absl::InfiniteFuture();
  return absl::FromChrono(deadline);
}

absl::Status WithDeadline(const absl::Status& status, absl::Time deadline, absl::Time now) {
  if (!absl::IsCancelled(status) || now + kDeadlineSlack < deadline) return status;
  return absl::DeadlineExceededError("the deadline has passed");
}

absl::Status CallerGone() { return absl::CancelledError("the caller has gone"); }

}  // namespace denoise
