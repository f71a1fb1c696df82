// What the flags say of both listeners.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/connections/connection_limits.h"
#include "server/connections/listen_address.h"
#include "server/connections/tls_context.h"
#include "server/server_flags.h"

namespace denoise {

inline constexpr char kListenFlag[] = "--listen", kHttpFlag[] = "--http";

// The sockets of the address `text`, which `flag` gave. Errors are those of ParseListenAddress and
// ListeningSockets, and name the flag.
absl::StatusOr<ListeningSockets> OpenListener(std::string_view flag, const std::string& text);
// The errors of OpenListener as far as they can be known without listening, such as a port in use.
// Comes before models are loaded, which takes a while: clients that would connect meanwhile are
// refused, as they are by a server that is not there.
absl::Status CheckListener(std::string_view flag, const std::string& text);

// As many connections as flags and file descriptors allow, for each listener.
ConnectionLimits::Limits ConnectionLimitsOf(const ServerFlags& flags);

absl::StatusOr<TlsFiles> ReadTlsFiles(const ServerFlags& flags);

}  // namespace denoise
