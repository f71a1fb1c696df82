// Why the command has found no server, for the report that it ends with.
#pragma once

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/client_options.h"

namespace denoise {

// From now on ExplainLostConnection looks at the connection of `options`, by `deadline`, as long as
// none of its calls is answered. Sets `options.answered`. Not thread-safe, as the next.
void RememberConnection(ClientOptions& options, absl::Time deadline);

// `status`, the failure of a command. If no connection could be made, its message names the mistake
// with TLS or the port that FindConnectionProblem finds, and GetErrorReason() tells which it is. Looks
// for one only once, for two seconds at most.
absl::Status ExplainLostConnection(const absl::Status& status);

}  // namespace denoise
