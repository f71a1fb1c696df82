// The address of a server, as gRPC names targets: "HOST:PORT", "[IPV6]:PORT", "dns:///HOST:PORT",
// "ipv4:ADDRESS:PORT,ADDRESS:PORT", "unix:PATH" (gRPC's doc/naming.md).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace denoise {

struct Endpoint {
  std::string host;
  std::string port;  // may be empty
};

// The endpoints of `address`, several only with ipv4: and ipv6:; none if it is the path of a
// socket.
std::vector<Endpoint> EndpointsOf(std::string_view address);

// InvalidArgument: gRPC would call no server there, or another one than was meant. It fills in a
// port that is missing and takes those above 65535 modulo 65536. The message follows the name of
// a flag.
absl::Status CheckServerAddress(std::string_view address);

// Whether `address` is this machine: 127.0.0.0/8, ::1, localhost, or the path of a socket. Such a
// server is always reached directly.
bool IsLoopback(std::string_view address);

}  // namespace denoise
