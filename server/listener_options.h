// What the flags say of both listeners.
#pragma once

#include "absl/status/statusor.h"
#include "server/connections/connection_limits.h"
#include "server/connections/tls_context.h"
#include "server/server_flags.h"

namespace denoise {

// As many connections as flags and file descriptors allow, for each listener.
ConnectionLimits::Limits ConnectionLimitsOf(const ServerFlags& flags);

absl::StatusOr<TlsFiles> ReadTlsFiles(const ServerFlags& flags);

}  // namespace denoise
