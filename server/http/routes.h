// Which part of the server answers an HTTP request.
#pragma once

#include <prometheus/registry.h>

#include <functional>
#include <memory>
#include <string_view>

#include "absl/time/time.h"
#include "core/base/clock.h"
#include "server/http/http_exchange.h"
#include "server/http/openai_bridge.h"
#include "server/http/origins.h"
#include "server/http/rpc_bridge.h"
#include "server/telemetry/access_log.h"

namespace denoise {

// The page, /metrics, /healthz, /readyz, the methods of the bridge and the API of OpenAI.
// Thread-safe.
class HttpRoutes {
 public:
  struct Options {
    Origins origins;
    RpcBridge* bridge;
    OpenAiBridge* openai;
    std::shared_ptr<prometheus::Registry> registry;
    const AccessControl* access;
    bool metrics_are_open = false;  // to callers who may not do everything
    // Whether the process need not be restarted, and whether it takes requests; or why not.
    std::function<absl::Status()> liveness;
    std::function<absl::Status()> readiness;
    // May be empty. Any thread calls it, once a request is answered.
    std::function<void(std::string_view route, int status)> on_answer = {};
    AccessLog* access_log = nullptr;  // null: none; outlives this
    const Clock* clock = &Clock::Real();
  };
  explicit HttpRoutes(Options options) : options_(std::move(options)) {}

  Task<void> Serve(HttpExchange& exchange) const;

 private:
  enum class Route { kPage, kMetrics, kHealthz, kReadyz, kRpc, kOpenAi, kNothing };
  Route Find(std::string_view path) const;
  static std::string_view NameOf(Route route);  // for metrics
  void Log(const HttpExchange& exchange, int status, absl::Time arrival) const;
  Task<void> Answer(Route route, HttpExchange& exchange) const;

  Task<void> Page(HttpExchange& exchange) const;
  absl::Status AdmitToMetrics(const HttpExchange& exchange) const;
  Task<void> Metrics(HttpExchange& exchange) const;
  static Task<void> Probe(HttpExchange& exchange, const std::function<absl::Status()>& state,
                          std::string_view good);
  Task<void> Rpc(HttpExchange& exchange) const;
  Task<void> Nothing(HttpExchange& exchange) const;
  Task<void> Preflight(HttpExchange& exchange) const;

  const Options options_;
};

}  // namespace denoise
