#include "core/ranks/addresses.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

absl::StatusOr<Addresses> Resolve(const HostAndPort& address, int type) {
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = type;
  addrinfo* found = nullptr;
  const int error =
      getaddrinfo(address.host.c_str(), absl::StrCat(address.port).c_str(), &hints, &found);
  if (error != 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot resolve ", Quoted(address.host), ": ", gai_strerror(error)));
  }
  return Addresses(found, &freeaddrinfo);
}

int PortOf(const sockaddr_storage& address) {
  return ntohs(address.ss_family == AF_INET6
                   ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                   : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

absl::StatusOr<std::string> Numeric(const sockaddr* address, socklen_t size) {
  char host[NI_MAXHOST];
  const int error = getnameinfo(address, size, host, sizeof(host), nullptr, 0, NI_NUMERICHOST);
  if (error != 0) return absl::UnavailableError(gai_strerror(error));
  return std::string(host);
}

}  // namespace

absl::StatusOr<HostAndPort> ParseHostAndPort(const std::string& address) {
  const size_t colon = address.rfind(':');
  int port = 0;
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(address.substr(colon + 1), &port) || port < 0 || port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat(Quoted(address), " is not an address of the form HOST:PORT"));
  }
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  return HostAndPort{std::move(host), port};
}

absl::StatusOr<FileDescriptor> ListeningSocket(const HostAndPort& address) {
  ASSIGN_OR_RETURN(const Addresses addresses, Resolve(address, SOCK_STREAM));
  FileDescriptor listener(
      socket(addresses->ai_family, SOCK_STREAM | SOCK_CLOEXEC, addresses->ai_protocol));
  const int on = 1;
  setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (listener.get() < 0 || bind(listener.get(), addresses->ai_addr, addresses->ai_addrlen) != 0 ||
      listen(listener.get(), SOMAXCONN) != 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", address.host, ":", address.port, ": ", strerror(errno)));
  }
  return listener;
}

int LocalPort(int socket) {
  sockaddr_storage address = {};
  socklen_t size = sizeof(address);
  getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size);
  return PortOf(address);
}

absl::StatusOr<Route> RouteTo(const HostAndPort& other) {
  ASSIGN_OR_RETURN(const Addresses addresses, Resolve(other, SOCK_DGRAM));
  const FileDescriptor probe(
      socket(addresses->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, addresses->ai_protocol));
  sockaddr_storage local = {};
  socklen_t size = sizeof(local);
  if (probe.get() < 0 || connect(probe.get(), addresses->ai_addr, addresses->ai_addrlen) != 0 ||
      getsockname(probe.get(), reinterpret_cast<sockaddr*>(&local), &size) != 0) {
    return absl::UnavailableError(
        absl::StrCat("no route to ", Quoted(other.host), ": ", strerror(errno)));
  }
  Route route;
  ASSIGN_OR_RETURN(route.from, Numeric(reinterpret_cast<const sockaddr*>(&local), size));
  ASSIGN_OR_RETURN(route.to, Numeric(addresses->ai_addr, addresses->ai_addrlen));
  return route;
}

bool IsOwn(const std::string& host) { return ListeningSocket({host, 0}).ok(); }

std::string OwnName() {
  char name[NI_MAXHOST] = "localhost";
  gethostname(name, sizeof(name) - 1);
  return name;
}

bool IsAnyAddress(const std::string& host) { return host == "0.0.0.0" || host == "::"; }

}  // namespace denoise
