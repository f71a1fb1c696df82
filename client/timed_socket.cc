#include "client/timed_socket.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <future>
#include <thread>
#include <utility>

#include "absl/time/clock.h"

namespace denoise {
namespace {

constexpr size_t kMostAddresses = 2;

// Whether one of `events` happens in time.
bool WaitFor(short events, int socket, absl::Time deadline) {
  constexpr int64_t kMostMs = 1000;
  while (true) {
    const absl::Duration left = deadline - absl::Now();
    if (left <= absl::ZeroDuration()) return false;
    const int64_t left_ms = std::min(absl::ToInt64Milliseconds(left) + 1, kMostMs);
    pollfd waited{.fd = socket, .events = events, .revents = 0};
    const int ready = poll(&waited, 1, static_cast<int>(left_ms));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

FileDescriptor ConnectTo(const SocketAddress& address, absl::Time deadline) {
  FileDescriptor connection(
      socket(address.bytes.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const auto* const generic = reinterpret_cast<const sockaddr*>(&address.bytes);
  if (connection.get() < 0 || connect(connection.get(), generic, address.size) == 0) {
    return connection;
  }
  int error = errno;
  if (error == EINPROGRESS && WaitFor(POLLOUT, connection.get(), deadline)) {
    socklen_t size = sizeof(error);
    getsockopt(connection.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  }
  return error == 0 ? std::move(connection) : FileDescriptor(-1);
}

FileDescriptor ConnectToFirst(const std::vector<SocketAddress>& addresses, absl::Time deadline) {
  for (size_t i = 0; i < addresses.size(); ++i) {
    // One that swallows everything leaves time for the others.
    const absl::Duration left = deadline - absl::Now();
    if (left <= absl::ZeroDuration()) break;
    const absl::Time by = absl::Now() + left / static_cast<int64_t>(addresses.size() - i);
    FileDescriptor connection = ConnectTo(addresses[i], by);
    if (connection.get() >= 0) return connection;
  }
  return FileDescriptor(-1);
}

std::vector<SocketAddress> LookUp(const Endpoint& endpoint, Resolver resolver) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (resolver(endpoint.host.c_str(), endpoint.port.c_str(), &hints, &found) != 0) return {};
  std::vector<SocketAddress> addresses;
  for (const addrinfo* it = found; it != nullptr && addresses.size() < kMostAddresses;
       it = it->ai_next) {
    SocketAddress& address = addresses.emplace_back();
    std::memcpy(&address.bytes, it->ai_addr, it->ai_addrlen);
    address.size = it->ai_addrlen;
  }
  freeaddrinfo(found);
  return addresses;
}

}  // namespace

std::vector<SocketAddress> Resolve(const Endpoint& endpoint, absl::Time deadline,
                                   Resolver resolver) {
  std::promise<std::vector<SocketAddress>> promise;
  std::future<std::vector<SocketAddress>> addresses = promise.get_future();
  std::thread([endpoint, resolver, promise = std::move(promise)]() mutable {
    promise.set_value(LookUp(endpoint, resolver));
  }).detach();
  if (addresses.wait_until(absl::ToChronoTime(deadline)) != std::future_status::ready) return {};
  return addresses.get();
}

TimedSocket::TimedSocket(const std::vector<SocketAddress>& addresses, absl::Time deadline)
    : deadline_(deadline), socket_(ConnectToFirst(addresses, deadline)) {}

bool TimedSocket::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    if (!WaitFor(POLLOUT, socket_.get(), deadline_)) return false;
    // Not SIGPIPE: the other side may have gone.
    const ssize_t sent = send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return false;
    bytes.remove_prefix(static_cast<size_t>(std::max<ssize_t>(sent, 0)));
  }
  return true;
}

std::string TimedSocket::Receive() {
  std::array<char, 4096> bytes;
  while (WaitFor(POLLIN, socket_.get(), deadline_)) {
    const ssize_t size = recv(socket_.get(), bytes.data(), bytes.size(), 0);
    if (size > 0) return std::string(bytes.data(), static_cast<size_t>(size));
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    closed_ = true;
    break;
  }
  return "";
}

}  // namespace denoise
