#include "server/connections/listen_address.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

constexpr int kMaxPort = 65535;
constexpr int kBacklog = 1024;
constexpr char kForm[] =
    "must be HOST:PORT with a port from 0 (any free one) to 65535, such as 127.0.0.1:50051 or "
    "[::]:50051, or unix:PATH";

absl::Status NotAnAddress(std::string_view text) {
  return absl::InvalidArgumentError(absl::StrCat(Quoted(text), " ", kForm));
}

absl::Status CannotListen(const std::string& address, const std::string& why) {
  return absl::UnavailableError(absl::StrCat("cannot listen on ", Escaped(address), ": ", why));
}

std::string WhyNot(int error) {
  if (error == EADDRINUSE) return "the address is in use by another program";
  if (error == EADDRNOTAVAIL) return "this machine does not have that address";
  if (error == EACCES) return "this user may not use that port or path";
  return std::strerror(error);
}

std::string TextOf(const ListenAddress& address) {
  if (!address.unix_path.empty()) return absl::StrCat("unix:", address.unix_path);
  const bool ipv6 = address.host.find(':') != std::string::npos;
  return absl::StrCat(ipv6 ? "[" : "", address.host, ipv6 ? "]" : "", ":", address.port);
}

bool IsWildcard(const std::string& host) {
  return host.empty() || host == "0.0.0.0" || host == "::";
}

int PortOf(int descriptor) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &length);
  return ntohs(address.ss_family == AF_INET6
                   ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                   : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

// A descriptor that does not listen yet, or a negative errno.
int Bind(const sockaddr* address, socklen_t length) {
  const int descriptor = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return -errno;
  const int on = 1, off = 0;
  // Not SO_REUSEPORT: two servers on one port would each get some of the calls.
  setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (address->sa_family == AF_INET6)
    setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
  if (bind(descriptor, address, length) == 0) return descriptor;
  const int error = errno;
  close(descriptor);
  return -error;
}

absl::StatusOr<std::vector<int>> BindUnix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("unix:", Escaped(path),
                                                   " is longer than a socket's path may be, ",
                                                   sizeof(address.sun_path) - 1, " bytes"));
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  int descriptor = Bind(generic, sizeof(address));
  if (descriptor == -EADDRINUSE) {
    // Left over from a server that was killed, if nobody answers.
    const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool dead = connect(probe, generic, sizeof(address)) != 0 && errno == ECONNREFUSED;
    close(probe);
    struct stat info;
    if (lstat(path.c_str(), &info) == 0 && !S_ISSOCK(info.st_mode)) {
      return CannotListen(absl::StrCat("unix:", path), "something else than a socket is there");
    }
    if (dead && unlink(path.c_str()) == 0) descriptor = Bind(generic, sizeof(address));
  }
  if (descriptor < 0) return CannotListen(absl::StrCat("unix:", path), WhyNot(-descriptor));
  return std::vector<int>{descriptor};
}

// Every address of the machine: of both families through one socket where there is IPv6.
absl::StatusOr<std::vector<int>> BindWildcard(const ListenAddress& address) {
  sockaddr_in6 ipv6{};
  ipv6.sin6_family = AF_INET6;
  ipv6.sin6_port = htons(static_cast<uint16_t>(address.port));
  int descriptor = Bind(reinterpret_cast<const sockaddr*>(&ipv6), sizeof(ipv6));
  if (descriptor == -EAFNOSUPPORT || descriptor == -EADDRNOTAVAIL) {
    sockaddr_in ipv4{};
    ipv4.sin_family = AF_INET;
    ipv4.sin_port = ipv6.sin6_port;
    descriptor = Bind(reinterpret_cast<const sockaddr*>(&ipv4), sizeof(ipv4));
  }
  if (descriptor < 0) return CannotListen(TextOf(address), WhyNot(-descriptor));
  return std::vector<int>{descriptor};
}

// All addresses that a name means, such as both of localhost, on one port.
absl::StatusOr<std::vector<int>> BindNamed(const ListenAddress& address) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(address.host.c_str(), nullptr, &hints, &found); error != 0) {
    return CannotListen(TextOf(address), gai_strerror(error));
  }
  const absl::Cleanup free_found = [found] { freeaddrinfo(found); };
  std::vector<int> descriptors;
  int port = address.port;
  int error = 0;
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
    auto* const ipv6 = reinterpret_cast<sockaddr_in6*>(entry->ai_addr);
    ipv6->sin6_port = htons(static_cast<uint16_t>(port));  // where sockaddr_in has its port, too
    const int descriptor = Bind(entry->ai_addr, entry->ai_addrlen);
    if (descriptor < 0) {
      error = -descriptor;
      continue;
    }
    descriptors.push_back(descriptor);
    if (port == 0) port = PortOf(descriptor);
  }
  if (descriptors.empty()) return CannotListen(TextOf(address), WhyNot(error));
  return descriptors;
}

}  // namespace

absl::StatusOr<ListenAddress> ParseListenAddress(std::string_view text) {
  constexpr std::string_view kUnix = "unix:";
  ListenAddress address;
  if (text.starts_with(kUnix)) {
    address.unix_path = text.substr(kUnix.size());
    if (address.unix_path.empty()) return NotAnAddress(text);
    return address;
  }
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return NotAnAddress(text);
  const std::string_view port = text.substr(colon + 1);
  if (port.empty() || port.find_first_not_of("0123456789") != std::string_view::npos ||
      !absl::SimpleAtoi(absl::string_view(port.data(), port.size()), &address.port) ||
      address.port > kMaxPort) {
    return NotAnAddress(text);
  }
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return NotAnAddress(text);  // an IPv6 address without brackets could mean two things
  }
  address.host = host;
  return address;
}

absl::StatusOr<ListeningSockets> ListeningSockets::Bind(const ListenAddress& address) {
  absl::StatusOr<std::vector<int>> descriptors = !address.unix_path.empty()
                                                     ? BindUnix(address.unix_path)
                                                 : IsWildcard(address.host) ? BindWildcard(address)
                                                                            : BindNamed(address);
  RETURN_IF_ERROR(descriptors.status());
  ListenAddress taken = address;
  if (address.unix_path.empty()) taken.port = PortOf(descriptors->front());
  return ListeningSockets(std::move(taken), *std::move(descriptors));
}

absl::StatusOr<ListeningSockets> ListeningSockets::Open(const ListenAddress& address) {
  ASSIGN_OR_RETURN(ListeningSockets sockets, Bind(address));
  for (const int descriptor : sockets.descriptors_) {
    if (listen(descriptor, kBacklog) != 0) return CannotListen(TextOf(address), WhyNot(errno));
  }
  return sockets;
}

absl::Status ListeningSockets::CheckFree(const ListenAddress& address) {
  return Bind(address).status();
}

ListeningSockets::ListeningSockets(ListenAddress address, std::vector<int> descriptors)
    : address_(TextOf(address)), descriptors_(std::move(descriptors)) {}

ListeningSockets::ListeningSockets(ListeningSockets&& other) noexcept
    : address_(std::move(other.address_)), descriptors_(std::exchange(other.descriptors_, {})) {}

ListeningSockets::~ListeningSockets() {
  for (const int descriptor : descriptors_) close(descriptor);
}

std::vector<int> ListeningSockets::Release() { return std::exchange(descriptors_, {}); }

}  // namespace denoise
