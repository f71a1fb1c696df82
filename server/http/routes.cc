#include "server/http/routes.h"

#include <prometheus/text_serializer.h>

#include <algorithm>
#include <exception>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "core/base/status_macros.h"
#include "server/http/caller.h"
#include "server/http/static_files.h"

namespace denoise {
namespace {

// What scripts of other origins may read of an answer.
constexpr char kExposedHeaders[] =
    "Grpc-Message, Grpc-Status, Grpc-Status-Details-Bin, Retry-After, Traceparent, "
    "Trailer-Denoised-Request-Id, Trailer-Grpc-Retry-Pushback-Ms";
constexpr char kPreflightSeconds[] = "600";
constexpr int kFailed = 500;
constexpr int kClientGone = 499;
constexpr size_t kMaxPathBytes = 256;  // that the log has of a path

bool IsListOfNames(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           std::string_view("-_., ").find(c) != std::string_view::npos;
  });
}

Task<void> Say(HttpExchange& exchange, int status, std::string_view text) {
  const HttpResponse response = PlainText(status, text);
  co_await exchange.Send(response);
}

bool IsRead(const HttpExchange& exchange) {
  return exchange.method() == "GET" || exchange.method() == "HEAD";
}

Task<void> MustBeRead(HttpExchange& exchange) {
  exchange.AddHeader("Allow", "GET, HEAD");
  return Say(exchange, 405, "only GET and HEAD are allowed here");
}

}  // namespace

Task<void> HttpRoutes::Serve(HttpExchange& exchange) const {
  const std::string_view origin = exchange.Header("Origin"), host = exchange.Header("Host");
  const Route route = Find(exchange.path());
  const bool is_traced = route == Route::kRpc || route == Route::kOpenAi;
  const absl::Time arrival = options_.clock->Now();
  const absl::Cleanup count = [&] {  // also where it fails
    const int unanswered = std::uncaught_exceptions() > 0 ? kFailed : kClientGone;
    const int status = exchange.status() == 0 ? unanswered : exchange.status();
    if (options_.on_answer) options_.on_answer(NameOf(route), status);
    if (is_traced && (route == Route::kOpenAi || !exchange.is_call())) {
      Log(exchange, status, arrival);
    }
  };
  exchange.AddHeader("Vary", "Origin");
  if (is_traced) exchange.AddHeader(kTraceparentKey, TraceparentOf(exchange.trace()));
  if (!options_.origins.KnowsHost(host)) {
    co_await Say(exchange, 421,
                 "a server that listens on loopback is not known by this name: use its address or "
                 "localhost, or start it with --http-allow-origin http://NAME");
  } else if (!options_.origins.Allows(origin, host)) {
    co_await Say(exchange, 403,
                 "pages of this origin may not use the server: start it with --http-allow-origin");
  } else {
    if (Origins::IsCross(origin, host)) {
      exchange.AddHeader("Access-Control-Allow-Origin", std::string(origin));
      exchange.AddHeader("Access-Control-Expose-Headers", kExposedHeaders);
    }
    co_await Answer(route, exchange);
  }
}

// Calls that reach gRPC have a line of their own, with more in it.
void HttpRoutes::Log(const HttpExchange& exchange, int status, absl::Time arrival) const {
  if (options_.access_log == nullptr) return;
  const absl::Time now = options_.clock->Now();
  const TraceContext& trace = exchange.trace();
  nlohmann::ordered_json line = {{"time", LogTime(now)},
                                 {"http_method", exchange.method()},
                                 {"path", exchange.path().substr(0, kMaxPathBytes)},
                                 {"http_status", status},
                                 {"seconds", absl::ToDoubleSeconds(now - arrival)},
                                 {"trace_id", trace.trace_id},
                                 {"span_id", trace.span_id}};
  if (!trace.parent_id.empty()) line["parent_span_id"] = trace.parent_id;
  line["trace_flags"] = trace.flags;
  options_.access_log->Write(line);
}

HttpRoutes::Route HttpRoutes::Find(std::string_view path) const {
  if (path == "/metrics") return Route::kMetrics;
  if (path == "/healthz") return Route::kHealthz;
  if (path == "/readyz") return Route::kReadyz;
  if (FindFile(PageFiles(), path) != nullptr) return Route::kPage;
  if (OpenAiBridge::Has(path)) return Route::kOpenAi;
  return options_.bridge->Has(path) ? Route::kRpc : Route::kNothing;
}

std::string_view HttpRoutes::NameOf(Route route) {
  switch (route) {
    case Route::kPage:
      return "page";
    case Route::kMetrics:
      return "metrics";
    case Route::kHealthz:
      return "healthz";
    case Route::kReadyz:
      return "readyz";
    case Route::kRpc:
      return "rpc";
    case Route::kOpenAi:
      return "openai";
    case Route::kNothing:
      return "none";
  }
  return "";
}

Task<void> HttpRoutes::Answer(Route route, HttpExchange& exchange) const {
  if (exchange.method() == "OPTIONS") return Preflight(exchange);
  switch (route) {
    case Route::kPage:
      return Page(exchange);
    case Route::kMetrics:
      return Metrics(exchange);
    case Route::kHealthz:
      return Probe(exchange, options_.liveness, "ok");
    case Route::kReadyz:
      return Probe(exchange, options_.readiness, "ready");
    case Route::kRpc:
      return Rpc(exchange);
    case Route::kOpenAi:
      return options_.openai->Serve(exchange);
    case Route::kNothing:
      break;
  }
  return Nothing(exchange);
}

Task<void> HttpRoutes::Page(HttpExchange& exchange) const {
  return IsRead(exchange) ? ServeFile(exchange, *FindFile(PageFiles(), exchange.path()))
                          : MustBeRead(exchange);
}

absl::Status HttpRoutes::AdmitToMetrics(const HttpExchange& exchange) const {
  const AccessControl& access = *options_.access;
  if (options_.metrics_are_open || !access.asks_for_credentials()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Identity caller, access.Identify(CredentialsOf(exchange, access)));
  return AccessControl::Require(caller, Scope::kAdmin, "/metrics");
}

Task<void> HttpRoutes::Metrics(HttpExchange& exchange) const {
  if (!IsRead(exchange)) co_return co_await MustBeRead(exchange);
  const absl::Status admitted = AdmitToMetrics(exchange);
  if (absl::IsUnauthenticated(admitted)) AskForCredentials(exchange);
  if (!admitted.ok()) {
    const std::string why(admitted.message());
    co_return co_await Say(exchange, HttpStatusOf(admitted.raw_code()), why);
  }
  HttpResponse response;
  response.headers = {{"Content-Type", "text/plain; version=0.0.4; charset=utf-8"}};
  response.body = prometheus::TextSerializer().Serialize(options_.registry->Collect());
  co_await exchange.Send(response);
}

Task<void> HttpRoutes::Probe(HttpExchange& exchange, const std::function<absl::Status()>& state,
                             std::string_view good) {
  if (!IsRead(exchange)) co_return co_await MustBeRead(exchange);
  const absl::Status now = state();
  const std::string why_not(now.message());
  co_await Say(exchange, now.ok() ? 200 : 503, now.ok() ? good : std::string_view(why_not));
}

Task<void> HttpRoutes::Rpc(HttpExchange& exchange) const {
  if (exchange.method() == "POST") return options_.bridge->Serve(exchange);
  exchange.AddHeader("Allow", "POST");
  return Say(exchange, 405, "methods are called with POST");
}

Task<void> HttpRoutes::Nothing(HttpExchange& exchange) const {
  return Say(exchange, 404,
             "there is nothing here: methods are at /denoised.v1.SERVICE/METHOD, and a server "
             "without --state has none for data sets and training");
}

Task<void> HttpRoutes::Preflight(HttpExchange& exchange) const {
  exchange.AddHeader("Access-Control-Allow-Methods", "GET, HEAD, POST");
  const std::string_view headers = exchange.Header("Access-Control-Request-Headers");
  if (IsListOfNames(headers)) {
    exchange.AddHeader("Access-Control-Allow-Headers", std::string(headers));
  }
  exchange.AddHeader("Access-Control-Max-Age", kPreflightSeconds);
  HttpResponse response;
  response.status = 204;
  co_await exchange.Send(response);
}

}  // namespace denoise
