#include "client/client_options.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/substitute.h"
#include "client/server_address.h"

namespace denoise {
namespace {

// Calls take turns among the servers behind a name, except those that say that they drain.
constexpr char kBalancing[] = R"(
  "loadBalancingConfig": [{"round_robin": {}}],
  "healthCheckConfig": {"serviceName": ""})";

// The health service is not listed: a probe wants the answer of this moment.
constexpr char kRetries[] = R"(
  "methodConfig": [{
    "name": [{"service": "denoised.v1.ImageGeneration"}, {"service": "denoised.v1.Models"}],
    "retryPolicy": {
      "maxAttempts": $0,
      "initialBackoff": "0.2s",
      "maxBackoff": "5s",
      "backoffMultiplier": 2,
      "retryableStatusCodes": ["UNAVAILABLE"]
    }
  }])";

constexpr int kMostAttempts = 5;  // gRPC's own cap
constexpr int kResolveIntervalMs = 1000;

int Milliseconds(absl::Duration duration) {
  return static_cast<int>(std::clamp<int64_t>(absl::ToInt64Milliseconds(duration), 1, INT32_MAX));
}

// A server on this machine is the only one of its name, so that watching its health would only cost
// another stream.
bool MayBeSeveralServers(const std::string& address) {
  return !IsLoopback(address) || absl::StrContains(address, ',');
}

std::string ServiceConfig(const ClientOptions& options) {
  std::vector<std::string> parts;
  if (MayBeSeveralServers(options.address)) parts.push_back(kBalancing);
  if (options.max_attempts > 1) {
    parts.push_back(absl::Substitute(kRetries, std::min(options.max_attempts, kMostAttempts)));
  }
  return absl::StrCat("{", absl::StrJoin(parts, ","), "}");
}

}  // namespace

bool MaySendToken(const ClientOptions& options) {
  return options.tls.has_value() || options.token_over_plaintext || IsLoopback(options.address);
}

grpc::ChannelArguments ToChannelArguments(const ClientOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(options.max_receive_bytes);
  if (IsLoopback(options.address)) arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // Behind a name are all servers that run. gRPC asks for it again only every 30 s by default, and
  // a rolling update can replace them all within that time.
  arguments.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, kResolveIntervalMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(options.keepalive_interval));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Milliseconds(options.keepalive_timeout));
  if (options.own_connection) arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetServiceConfigJSON(ServiceConfig(options));
  if (options.max_attempts <= 1) arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  return arguments;
}

}  // namespace denoise
