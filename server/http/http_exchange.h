// One request over HTTP/1.1 and its answer, as its handler sees them.
#pragma once

#include <boost/beast/http/message.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/http/task.h"
#include "server/telemetry/trace_context.h"

namespace denoise {

using HttpRequestHead = boost::beast::http::request_header<>;
using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpResponse {
  int status = 200;
  HttpHeaders headers = {};
  std::string body = {};
};

// Lives as long as its handler runs, on one strand. What is read and written in time is not the
// handler's concern: a client that takes too long is as good as gone.
class HttpExchange {
 public:
  HttpExchange() = default;
  virtual ~HttpExchange() = default;
  HttpExchange(const HttpExchange&) = delete;
  HttpExchange& operator=(const HttpExchange&) = delete;

  virtual const HttpRequestHead& head() const = 0;
  std::string_view method() const;
  std::string_view path() const;                         // of the target, without its query
  std::string_view Header(std::string_view name) const;  // empty where it is absent

  // The values of a header, as HTTP joins them. What is given twice is therefore not valid where a
  // list is not.
  std::string JoinedHeader(std::string_view name) const;

  // The trace that the request belongs to; as its headers say, from the first call on.
  const TraceContext& trace() const;
  // Whether it has become a call over gRPC, which the access log has.
  bool is_call() const { return is_call_; }
  void SetIsCall() { is_call_ = true; }

  // Whom the client's certificate names; empty where it has none.
  virtual const std::string& certificate_name() const = 0;

  // The whole body. ResourceExhausted beyond `bytes_max`; Unavailable where the bodies of all
  // requests take too much memory; Cancelled where the client has gone.
  virtual Task<absl::StatusOr<std::string>> ReadBody(int64_t bytes_max) = 0;
  // The next part of the body, empty at its end. Cancelled where the client has gone.
  virtual Task<absl::StatusOr<std::string>> ReadSome() = 0;
  // Says how many bytes the handler holds now of the body, or of an answer that has to wait.
  // Unavailable where those of all requests take too much memory.
  virtual absl::Status Hold(size_t bytes) = 0;

  // Goes into the answer, whatever that will be.
  virtual void AddHeader(std::string name, std::string value) = 0;
  // Answers. Comes once, and not after Begin.
  virtual Task<void> Send(const HttpResponse& response) = 0;

  // Answers piece by piece: the head, then parts of the body, then End. Write waits until the client
  // has taken nearly all, and is false once it has gone.
  virtual Task<bool> Begin(const HttpResponse& head) = 0;
  virtual Task<bool> Write(std::string_view bytes) = 0;
  virtual Task<void> End() = 0;

  // Of the answer; 0 while there is none.
  virtual int status() const = 0;

  // Has `on_gone` called once if the client leaves before it has the answer. Comes after the body
  // has been read.
  virtual void WatchClient(std::function<void()> on_gone) = 0;

 private:
  mutable std::optional<TraceContext> trace_;
  bool is_call_ = false;
};

// "application/json" of "Application/JSON; charset=utf-8".
std::string MediaType(std::string_view content_type);

// Whether a Content-Encoding leaves the body as it is.
inline bool IsIdentity(std::string_view coding) { return coding.empty() || coding == "identity"; }

// A line for people who use curl.
HttpResponse PlainText(int status, std::string_view text);

}  // namespace denoise
