// Why calls end whose callers have gone.
#pragma once

#include <grpcpp/server_context.h>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace denoise {

// InfiniteFuture where the caller has set none.
absl::Time DeadlineOf(const grpc::CallbackServerContext& context);

// `status`, or DEADLINE_EXCEEDED where it is CANCELLED because of the deadline: gRPC cancels a call
// whose deadline has passed.
absl::Status WithDeadline(const absl::Status& status, absl::Time deadline, absl::Time now);

}  // namespace denoise
