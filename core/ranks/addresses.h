// The addresses at which ranks reach one another.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "core/base/file_descriptor.h"

namespace denoise {

struct HostAndPort {
  std::string host;
  int port;
};

// "HOST:PORT" or "[HOST]:PORT". InvalidArgument.
absl::StatusOr<HostAndPort> ParseHostAndPort(const std::string& address);

// Unavailable: the host cannot be resolved, is not of this machine, or its port is taken.
absl::StatusOr<FileDescriptor> ListeningSocket(const HostAndPort& address);
int LocalPort(int socket);

// The addresses of this machine and of another, as one reaches the other.
struct Route {
  std::string from, to;
};
// Sends nothing. Unavailable: there is no route.
absl::StatusOr<Route> RouteTo(const HostAndPort& other);

// Whether `host` is an address of this machine, not one that is translated on the way to it.
bool IsOwn(const std::string& host);
// Whether it means all addresses of this machine.
bool IsAnyAddress(const std::string& host);
std::string OwnName();

}  // namespace denoise
