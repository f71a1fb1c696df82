#include "server/http_listener.h"

#include <arpa/inet.h>

#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "core/base/status_macros.h"
#include "server/connections/listen_address.h"
#include "server/listener_options.h"

namespace denoise {
namespace {

constexpr int kMessageThreads = 2;

// Whether only this machine reaches it.
bool IsLoopback(const ListenAddress& address) {
  const std::string host = absl::AsciiStrToLower(address.host);
  in_addr ipv4;
  if (inet_pton(AF_INET, host.c_str(), &ipv4) == 1) return (ntohl(ipv4.s_addr) >> 24) == 127;
  in6_addr ipv6;
  if (inet_pton(AF_INET6, host.c_str(), &ipv6) == 1) {
    return IN6_IS_ADDR_LOOPBACK(&ipv6) || (IN6_IS_ADDR_V4MAPPED(&ipv6) && ipv6.s6_addr[12] == 127);
  }
  return host == "localhost";
}

}  // namespace

HttpListener::HttpListener(const ServerFlags& flags, Parts parts, Origins origins)
    : calls_(parts.channel, &parts.telemetry->count(ObjectKind::kHttpCall)),
      messages_(kMessageThreads),
      bridge_({.calls = &calls_,
               .services = std::move(parts.services),
               .message_bytes_max = flags.max_receive_bytes,
               .pool = &messages_,
               .admit = parts.admit,
               .access = parts.access}),
      openai_({.calls = &calls_,
               .message_bytes_max = flags.max_receive_bytes,
               .picture_pixels_max = flags.max_picture_pixels,
               .pool = parts.pool,
               .admit = std::move(parts.admit),
               .access = parts.access}),
      routes_({.origins = std::move(origins),
               .bridge = &bridge_,
               .openai = &openai_,
               .registry = parts.telemetry->registry(),
               .access = parts.access,
               .metrics_are_open = flags.metrics_access == "all",
               .liveness = std::move(parts.liveness),
               .readiness = std::move(parts.readiness),
               .on_answer = [telemetry = parts.telemetry](
                                std::string_view route,
                                int status) { telemetry->HttpAnswered(route, status); },
               .access_log = parts.access_log}) {}

absl::StatusOr<std::unique_ptr<HttpListener>> HttpListener::Start(const ServerFlags& flags,
                                                                  Parts parts) {
  ASSIGN_OR_RETURN(const ListenAddress address, ParseListenAddress(flags.http));
  ASSIGN_OR_RETURN(Origins origins, Origins::Parse(flags.http_allow_origins, IsLoopback(address)));
  ASSIGN_OR_RETURN(ListeningSockets sockets, OpenListener(kHttpFlag, flags.http));
  ASSIGN_OR_RETURN(const TlsFiles tls, ReadTlsFiles(flags));
  Telemetry* const telemetry = parts.telemetry;
  std::unique_ptr<HttpListener> listener(
      new HttpListener(flags, std::move(parts), std::move(origins)));
  listener->address_ = sockets.address();
  HttpServer::Options options;
  options.connections = ConnectionLimitsOf(flags);
  if (tls.certificate.empty()) {  // then a connection costs next to nothing
    options.connections.new_per_address.burst = std::numeric_limits<double>::max();
  }
  options.times.block = absl::Seconds(flags.max_write_seconds);
  options.body_bytes_max = int64_t{flags.memory_quota_mib} << 20;
  options.tls = tls;
  options.handler = [routes = &listener->routes_](HttpExchange& exchange) {
    return routes->Serve(exchange);
  };
  options.on_connections = [telemetry](int count) { telemetry->HttpConnections(count); };
  options.counts = {.connections = &telemetry->count(ObjectKind::kHttpConnection),
                    .requests = &telemetry->count(ObjectKind::kHttpRequest)};
  ASSIGN_OR_RETURN(listener->server_, HttpServer::Start(std::move(sockets), std::move(options)));
  return listener;
}

HttpListener::~HttpListener() {
  if (server_) server_->Stop();
  calls_.WaitUntilDone();
  server_.reset();  // before what its handlers use
}

}  // namespace denoise
