#include "client/client_options.h"

#include <algorithm>
#include <string>

#include "absl/strings/substitute.h"
#include "client/http_proxy.h"

namespace denoise {
namespace {

// The health service is not listed: a probe wants the answer of this moment.
constexpr char kServiceConfig[] = R"({
  "methodConfig": [{
    "name": [{"service": "denoised.v1.ImageGeneration"}, {"service": "denoised.v1.Models"}],
    "retryPolicy": {
      "maxAttempts": $0,
      "initialBackoff": "0.2s",
      "maxBackoff": "5s",
      "backoffMultiplier": 2,
      "retryableStatusCodes": ["UNAVAILABLE"]
    }
  }]
})";

constexpr int kMostAttempts = 5;  // gRPC's own cap
constexpr int kResolveIntervalMs = 1000;

int Milliseconds(absl::Duration duration) {
  return static_cast<int>(std::clamp<int64_t>(absl::ToInt64Milliseconds(duration), 1, INT32_MAX));
}

}  // namespace

bool MaySendToken(const ClientOptions& options) {
  return options.tls.has_value() || options.token_over_plaintext || IsLoopback(options.address);
}

grpc::ChannelArguments ToChannelArguments(const ClientOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(options.max_receive_bytes);
  if (IsLoopback(options.address)) arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // Behind a name are all servers that run. gRPC asks for it again only every 30 s by default, and a
  // rolling update can replace them all within that time.
  arguments.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, kResolveIntervalMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(options.keepalive_interval));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Milliseconds(options.keepalive_timeout));
  if (options.own_connection) arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  if (options.max_attempts > 1) {
    arguments.SetServiceConfigJSON(
        absl::Substitute(kServiceConfig, std::min(options.max_attempts, kMostAttempts)));
  } else {
    arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  }
  return arguments;
}

}  // namespace denoise
