#include "server/telemetry/metrics_endpoint.h"

#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <prometheus/text_serializer.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace denoise {
namespace {

constexpr int kThreads = 2;
constexpr int kBacklog = 16;
constexpr size_t kMaxRequestBytes = 8192;
// Whoever does not finish in this time is cut off, so that idle connections cannot keep the
// threads.
constexpr absl::Duration kConnectionTimeout = absl::Seconds(3);

struct HostAndPort {
  std::string host;
  std::string port;
};

std::optional<HostAndPort> SplitAddress(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon + 1 == address.size()) return std::nullopt;
  std::string host = address.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  return HostAndPort{std::move(host), address.substr(colon + 1)};
}

// -1 where it fails; errno says why.
int ListenOn(const addrinfo& info) {
  const int fd = socket(info.ai_family, info.ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(fd, info.ai_addr, info.ai_addrlen) == 0 && listen(fd, kBacklog) == 0) return fd;
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

absl::StatusOr<int> ListenOn(const std::string& address, const HostAndPort& where) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const char* host = where.host.empty() ? nullptr : where.host.c_str();
  if (const int error = getaddrinfo(host, where.port.c_str(), &hints, &found); error != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot serve metrics on ", address, ": ", gai_strerror(error)));
  }
  const int fd = ListenOn(*found);
  const int error = errno;
  freeaddrinfo(found);
  if (fd < 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot serve metrics on ", address, ": ", std::strerror(error)));
  }
  return fd;
}

int PortOf(int listener) {
  sockaddr_storage name{};
  socklen_t length = sizeof(name);
  getsockname(listener, reinterpret_cast<sockaddr*>(&name), &length);
  return ntohs(name.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(name).sin6_port
                                          : reinterpret_cast<sockaddr_in&>(name).sin_port);
}

// Whether `fd` turns ready for `events` before `deadline`.
bool WaitFor(int fd, int16_t events, absl::Time deadline) {
  pollfd waiting = {fd, events, 0};
  const int64_t left_ms = absl::ToInt64Milliseconds(deadline - absl::Now());
  return left_ms > 0 && poll(&waiting, 1, static_cast<int>(left_ms)) == 1;
}

// The head of a request; nullopt where it is too long, or does not come.
std::optional<std::string> ReadHead(int connection, absl::Time deadline) {
  std::string head;
  while (head.size() < kMaxRequestBytes) {
    if (!WaitFor(connection, POLLIN, deadline)) return std::nullopt;
    char buffer[1024];
    const ssize_t count = recv(connection, buffer, sizeof(buffer), 0);
    if (count <= 0) return std::nullopt;
    head.append(buffer, static_cast<size_t>(count));
    if (head.find("\r\n\r\n") != std::string::npos) return head;
  }
  return std::nullopt;
}

void SendAll(int connection, std::string_view bytes, absl::Time deadline) {
  while (!bytes.empty() && WaitFor(connection, POLLOUT, deadline)) {
    const ssize_t count = send(connection, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0) return;
    bytes.remove_prefix(static_cast<size_t>(count));
  }
}

std::string Response(std::string_view status, std::string_view body) {
  return std::string("HTTP/1.1 ")
      .append(status)
      .append("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: ")
      .append(std::to_string(body.size()))
      .append("\r\nConnection: close\r\n\r\n")
      .append(body);
}

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsEndpoint>> MetricsEndpoint::Start(
    const std::string& address, std::shared_ptr<prometheus::Registry> registry) {
  const std::optional<HostAndPort> where = SplitAddress(address);
  if (!where) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot serve metrics on ", address, ": not HOST:PORT"));
  }
  const absl::StatusOr<int> listener = ListenOn(address, *where);
  if (!listener.ok()) return listener.status();
  const int stop = eventfd(0, EFD_CLOEXEC);
  if (stop < 0) {
    close(*listener);
    return absl::ErrnoToStatus(errno, "cannot serve metrics");
  }
  std::string taken = absl::StrCat(address.substr(0, address.rfind(':')), ":", PortOf(*listener));
  return std::unique_ptr<MetricsEndpoint>(
      new MetricsEndpoint(*listener, stop, std::move(taken), std::move(registry)));
}

MetricsEndpoint::MetricsEndpoint(int listener, int stop, std::string address,
                                 std::shared_ptr<prometheus::Registry> registry)
    : listener_(listener),
      stop_(stop),
      address_(std::move(address)),
      registry_(std::move(registry)) {
  for (int i = 0; i < kThreads; ++i) threads_.emplace_back([this] { Loop(); });
}

MetricsEndpoint::~MetricsEndpoint() {
  eventfd_write(stop_, 1);
  for (std::thread& thread : threads_) thread.join();
  close(listener_);
  close(stop_);
}

void MetricsEndpoint::Loop() const {
  while (true) {
    pollfd waiting[] = {{listener_, POLLIN, 0}, {stop_, POLLIN, 0}};
    if (poll(waiting, 2, -1) < 0 && errno != EINTR) return;
    if (waiting[1].revents != 0) return;
    const int connection = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) {
      // Another thread was quicker, or there is no descriptor left; then give others time to free
      // one.
      if (errno != EAGAIN) absl::SleepFor(absl::Milliseconds(10));
      continue;
    }
    Answer(connection);
    close(connection);
  }
}

void MetricsEndpoint::Answer(int connection) const {
  const absl::Time deadline = absl::Now() + kConnectionTimeout;
  const std::optional<std::string> head = ReadHead(connection, deadline);
  if (!head) return;
  if (!head->starts_with("GET ")) {
    return SendAll(connection, Response("405 Method Not Allowed", "only GET\n"), deadline);
  }
  const std::string path = head->substr(4, head->find_first_of(" ?\r", 4) - 4);
  if (path != "/metrics") {
    return SendAll(connection, Response("404 Not Found", "metrics are at /metrics\n"), deadline);
  }
  const prometheus::TextSerializer serializer;
  SendAll(connection, Response("200 OK", serializer.Serialize(registry_->Collect())), deadline);
}

}  // namespace denoise
