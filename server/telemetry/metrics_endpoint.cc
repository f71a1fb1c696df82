#include "server/telemetry/metrics_endpoint.h"

#include <httplib.h>
#include <prometheus/text_serializer.h>
#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace denoise {
namespace {

// For each read and write, not for a request: an idle connection is cut off, but one that trickles
// can keep its thread. There are few threads.
constexpr time_t kTimeoutSeconds = 3;
constexpr size_t kThreads = 4;

struct HostAndPort {
  std::string host;
  uint16_t port;
};

std::optional<HostAndPort> SplitAddress(const std::string& address) {
  const size_t colon = address.rfind(':');
  uint32_t port = 0;
  if (colon == std::string::npos || !absl::SimpleAtoi(address.substr(colon + 1), &port) ||
      port > UINT16_MAX) {
    return std::nullopt;
  }
  std::string host = address.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  return HostAndPort{host.empty() ? "0.0.0.0" : host, static_cast<uint16_t>(port)};
}

// The library's default lets two servers share a port; each would get some of the scrapes.
void ReuseAddressOnly(int socket) {
  const int on = 1;
  setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
}

std::unique_ptr<httplib::Server> MakeServer(std::shared_ptr<prometheus::Registry> registry) {
  auto server = std::make_unique<httplib::Server>();
  server->new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
  server->set_socket_options(ReuseAddressOnly);
  server->set_read_timeout(kTimeoutSeconds);
  server->set_write_timeout(kTimeoutSeconds);
  server->set_keep_alive_max_count(1);
  server->set_payload_max_length(0);
  server->Get("/metrics", [registry = std::move(registry)](const httplib::Request&,
                                                           httplib::Response& response) {
    response.set_content(prometheus::TextSerializer().Serialize(registry->Collect()),
                         "text/plain; version=0.0.4; charset=utf-8");
  });
  return server;
}

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsEndpoint>> MetricsEndpoint::Start(
    const std::string& address, std::shared_ptr<prometheus::Registry> registry) {
  const std::optional<HostAndPort> where = SplitAddress(address);
  if (!where) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot serve metrics on ", address, ": not HOST:PORT"));
  }
  std::unique_ptr<httplib::Server> server = MakeServer(std::move(registry));
  int port = where->port;
  const bool bound = port == 0 ? (port = server->bind_to_any_port(where->host)) > 0
                               : server->bind_to_port(where->host, port);
  if (!bound) {
    return absl::UnavailableError(absl::StrCat("cannot serve metrics on ", address,
                                               ": is the address in use, or not of this machine?"));
  }
  std::string taken = absl::StrCat(address.substr(0, address.rfind(':')), ":", port);
  return std::unique_ptr<MetricsEndpoint>(new MetricsEndpoint(std::move(server), std::move(taken)));
}

MetricsEndpoint::MetricsEndpoint(std::unique_ptr<httplib::Server> server, std::string address)
    : server_(std::move(server)), address_(std::move(address)), thread_([this] {
        server_->listen_after_bind();
        ended_ = true;
      }) {
  // A server that does not run yet cannot be stopped; one whose listening has failed at once never
  // runs, and need not be.
  while (!server_->is_running() && !ended_) absl::SleepFor(absl::Milliseconds(1));
}

MetricsEndpoint::~MetricsEndpoint() {
  server_->stop();
  thread_.join();
}

}  // namespace denoise
