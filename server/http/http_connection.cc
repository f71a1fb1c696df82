#include "server/http/http_connection.h"

#include <algorithm>
#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/status.hpp>
#include <exception>
#include <initializer_list>
#include <limits>
#include <new>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/retry.h"
#include "server/telemetry/log.h"

namespace denoise {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;

constexpr size_t kMaxHeadBytes = 16 << 10;
constexpr size_t kReadBytes = 16 << 10;
// What is kept of requests that a client sends before it has an answer.
constexpr size_t kMaxUnreadBytes = 64 << 10;
// What a client may still send after it has its answer.
constexpr size_t kMaxLingerBytes = 1 << 20;
constexpr absl::Duration kRetryDelay = absl::Seconds(1);
constexpr absl::Duration kLinger = absl::Seconds(2);

std::string_view ReasonOf(int status) {
  const auto reason = http::obsolete_reason(static_cast<http::status>(status));
  return {reason.data(), reason.size()};
}

// What proxies and servers could understand differently (RFC 9112, sections 3.2 and 6.3): then a
// request could hide another. Null where nothing is wrong.
const char* WrongIn(const HttpRequestHead& head) {
  const auto count = [&](http::field field) { return head.count(field); };
  const bool is_1_1 = head.version() >= 11;
  if (count(http::field::host) > 1 || (is_1_1 && count(http::field::host) == 0)) {
    return "a request has one Host";
  }
  if (count(http::field::content_length) > 1) return "a request has one Content-Length at most";
  if (count(http::field::transfer_encoding) == 0) return nullptr;
  const auto coding = head[http::field::transfer_encoding];
  const bool is_chunked =
      absl::EqualsIgnoreCase(absl::string_view(coding.data(), coding.size()), "chunked");
  if (!is_1_1 || !is_chunked || count(http::field::transfer_encoding) > 1 ||
      count(http::field::content_length) > 0) {
    return "Transfer-Encoding can only be chunked, in HTTP/1.1 and without Content-Length";
  }
  return nullptr;
}

}  // namespace

class HttpConnection::Exchange final : public HttpExchange {
 public:
  using Parser = http::request_parser<http::buffer_body>;

  Exchange(HttpConnection& connection, Parser& parser)
      : connection_(connection),
        counted_(connection.shared_.counts.requests),
        parser_(parser),
        keep_alive_(parser.get().version() >= 11 && parser.get().keep_alive()) {}
  ~Exchange() override { connection_.shared_.bodies->Give(held_bytes_); }

  const HttpRequestHead& head() const override { return parser_.get().base(); }
  const std::string& certificate_name() const override { return connection_.certificate_name_; }

  Task<absl::StatusOr<std::string>> ReadBody(int64_t bytes_max) override {
    body_deadline_ = connection_.shared_.clock->Now() + connection_.shared_.times.block;
    std::string body;
    while (true) {
      absl::StatusOr<std::string> part = co_await ReadSome();
      if (!part.ok() || part->empty()) {
        if (part.ok()) part = std::move(body);
        co_return part;
      }
      body += *part;
      if (static_cast<int64_t>(body.size()) > bytes_max) {
        co_return absl::ResourceExhaustedError(
            absl::StrCat("the body has more than ", bytes_max, " bytes, the maximum"));
      }
      const absl::Status held = Hold(body.size());
      if (!held.ok()) co_return held;
    }
  }

  Task<absl::StatusOr<std::string>> ReadSome() override {
    const bool is_asked = std::exchange(expects_continue_, false);
    if (is_asked && parser_.get().version() >= 11 && !parser_.is_done()) {
      const bool is_there = co_await connection_.Write("HTTP/1.1 100 Continue\r\n\r\n");
      if (!is_there) co_return Gone();
    }
    std::string part;
    bool needs_more = connection_.unread_.empty();
    while (part.empty() && !parser_.is_done()) {
      if (needs_more) {
        connection_.SetWaiting(true);
        const absl::Duration left = body_deadline_ - connection_.shared_.clock->Now();
        connection_.Limit(std::min(left, connection_.shared_.times.block));
        const bool has_more = co_await connection_.Fill();
        connection_.EndLimit();
        connection_.SetWaiting(false);
        if (!has_more) co_return Gone();
      }
      error_code error;
      part = ParseBody(error);
      if (error) co_return absl::InvalidArgumentError("the body is malformed");
      needs_more = true;
    }
    co_return part;
  }

  absl::Status Hold(size_t bytes) override {
    const auto total = static_cast<int64_t>(bytes);
    BodyBudget& bodies = *connection_.shared_.bodies;
    if (total <= held_bytes_) {
      bodies.Give(held_bytes_ - total);
    } else if (!bodies.Take(total - held_bytes_)) {
      return UnavailableRetryAfter("the bodies of other requests take all the memory for them",
                                   kRetryDelay);
    }
    held_bytes_ = total;
    return absl::OkStatus();
  }

  void AddHeader(std::string name, std::string value) override {
    headers_.emplace_back(std::move(name), std::move(value));
  }

  Task<void> Send(const HttpResponse& response) override {
    const bool has_body = response.status != 204 && response.status != 304;
    std::string bytes = Head(
        response, has_body ? absl::StrCat("Content-Length: ", response.body.size(), "\r\n") : "");
    if (has_body && method() != "HEAD") bytes += response.body;
    co_await WriteToClient(bytes);
  }

  Task<bool> Begin(const HttpResponse& response) override {
    chunked_ = parser_.get().version() >= 11;
    if (!chunked_) keep_alive_ = false;  // the end of the connection is that of the answer
    const std::string head = Head(response, chunked_ ? "Transfer-Encoding: chunked\r\n" : "");
    co_return co_await WriteToClient(head);
  }

  Task<bool> Write(std::string_view bytes) override {
    if (bytes.empty()) co_return true;  // which would be the last chunk
    if (!chunked_) co_return co_await WriteToClient(bytes);
    std::string chunk = absl::StrCat(absl::Hex(bytes.size()), "\r\n");
    chunk.append(bytes).append("\r\n");
    co_return co_await WriteToClient(chunk);
  }

  Task<void> End() override {
    if (chunked_) co_await WriteToClient("0\r\n\r\n");
  }

  void WatchClient(std::function<void()> on_gone) override {
    if (connection_.ended_) return on_gone();
    connection_.on_gone_ = std::move(on_gone);
    connection_.StartReading();
  }

  int status() const override { return status_; }
  // The client has gone before its request was complete.
  bool gone() const { return gone_; }
  bool keep_alive() const { return keep_alive_ && status_ != 0 && parser_.is_done(); }

 private:
  absl::Status Gone() {
    gone_ = true;
    return absl::CancelledError("the client has gone");
  }

  // Takes what it can of what the connection has read.
  std::string ParseBody(error_code& error) {
    std::string& unread = connection_.unread_;
    std::string part(unread.size(), '\0');
    auto& body = parser_.get().body();
    body.data = part.data();
    body.size = part.size();
    body.more = true;
    size_t used = 0;
    while (!error && used < unread.size() && !parser_.is_done()) {
      const size_t now =
          parser_.put(asio::buffer(unread.data() + used, unread.size() - used), error);
      used += now;
      if (now == 0) break;
    }
    // The first is the head of a chunk, or the trailers, which are not complete yet.
    if (error == http::error::need_more || error == http::error::need_buffer) error = {};
    if (used == 0 && unread.size() > kMaxHeadBytes) error = http::error::header_limit;
    part.resize(part.size() - body.size);
    unread.erase(0, used);
    return part;
  }

  // Of the answer, with `length`, which is a header.
  std::string Head(const HttpResponse& response, const std::string& length) {
    status_ = response.status;
    std::string head = absl::StrCat("HTTP/1.1 ", status_, " ", std::string(ReasonOf(status_)),
                                    "\r\n", "X-Content-Type-Options: nosniff\r\n", length);
    for (const HttpHeaders* headers :
         std::initializer_list<const HttpHeaders*>{&headers_, &response.headers}) {
      for (const auto& [name, value] : *headers) absl::StrAppend(&head, name, ": ", value, "\r\n");
    }
    if (!keep_alive_ || !parser_.is_done()) absl::StrAppend(&head, "Connection: close\r\n");
    return head.append("\r\n");
  }

  Task<bool> WriteToClient(std::string_view bytes) { return connection_.Write(bytes); }

  HttpConnection& connection_;
  const CountedObject counted_;
  Parser& parser_;
  HttpHeaders headers_;     // of whatever answer
  int64_t held_bytes_ = 0;  // of the body
  absl::Time body_deadline_ = absl::InfiniteFuture();
  bool keep_alive_;
  bool expects_continue_ = absl::EqualsIgnoreCase(
      absl::string_view(Header("Expect").data(), Header("Expect").size()), "100-continue");
  bool chunked_ = false;
  bool gone_ = false;
  int status_ = 0;
};

HttpConnection::HttpConnection(std::unique_ptr<ByteStream> stream, asio::any_io_executor strand,
                               const HttpShared& shared)
    : stream_(std::move(stream)),
      strand_(std::move(strand)),
      shared_(shared),
      counted_(shared.counts.connections),
      limit_(strand_),
      read_done_(strand_),
      waiting_since_(absl::ToUnixNanos(shared.clock->Now())) {
  read_done_.expires_at(asio::steady_timer::time_point::max());
}

Task<void> HttpConnection::Run() {
  const auto self = shared_from_this();
  Limit(shared_.times.head);
  bool goes_on = co_await stream_->Handshake();
  if (goes_on) certificate_name_ = stream_->certificate_name();
  const bool has_begun = goes_on;
  while (goes_on && !closed_) {
    goes_on = co_await ServeOne();
    Limit(shared_.times.idle);
  }
  if (has_begun && !closed_) co_await Linger();
  EndLimit();
  Close();
}

Task<bool> HttpConnection::ServeOne() {
  Exchange::Parser parser;
  parser.header_limit(kMaxHeadBytes);
  parser.body_limit(std::numeric_limits<uint64_t>::max());  // handlers have limits of their own
  parser.eager(false);
  SetWaiting(true);
  bool begun = false;
  while (!parser.is_header_done()) {
    if (unread_.empty() || begun) {
      const bool has_more = co_await Fill();
      if (!has_more) co_return false;
    }
    if (!std::exchange(begun, true)) Limit(shared_.times.head);
    error_code error;
    unread_.erase(0, parser.put(asio::buffer(unread_.data(), unread_.size()), error));
    if (error == http::error::header_limit) {
      co_await Refuse(431, "the head of a request may have 16 KiB");
      co_return false;
    }
    if (error && error != http::error::need_more) {
      co_await Refuse(400, "this is not HTTP/1.1");
      co_return false;
    }
  }
  EndLimit();
  SetWaiting(false);
  if (const char* wrong = WrongIn(parser.get().base())) {
    co_await Refuse(400, wrong);
    co_return false;
  }
  if (closed_) co_return false;
  shared_.answering->Add();
  const absl::Cleanup answered = [this] { shared_.answering->Remove(); };
  Exchange exchange(*this, parser);
  bool failed = false;
  try {
    co_await shared_.handler(exchange);
  } catch (const std::exception& error) {
    LogEvent(spdlog::level::err, "an HTTP request failed",
             {{"trace_id", exchange.trace().trace_id}, {"message", error.what()}});
    failed = true;
  }
  on_gone_ = nullptr;
  if (exchange.status() == 0) {
    if (exchange.gone()) co_return false;
    const HttpResponse response = PlainText(500, "the server failed; its log says why");
    co_await exchange.Send(response);
  }
  co_return !failed && exchange.keep_alive();
}

Task<bool> HttpConnection::Fill() {
  StartReading();
  while (reading_) {
    error_code ignored;
    co_await read_done_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  co_return !ended_;
}

// The read stays under way while there is something to answer: it notices that the client leaves,
// and what it brings is part of the next request.
void HttpConnection::StartReading() {
  if (reading_ || ended_) return;
  reading_ = true;
  asio::co_spawn(
      strand_, [self = shared_from_this()] { return self->ReadOnce(); }, asio::detached);
}

Task<void> HttpConnection::ReadOnce() {
  std::array<char, kReadBytes> block;
  const size_t bytes = co_await stream_->Read(asio::buffer(block));
  try {
    unread_.append(block.data(), bytes);
    ended_ = bytes == 0;
  } catch (const std::bad_alloc&) {
    ended_ = true;
  }
  reading_ = false;
  read_done_.cancel();
  if (ended_ && on_gone_) std::exchange(on_gone_, nullptr)();
  // A client that has sent its next request may leave, too.
  if (on_gone_ && unread_.size() < kMaxUnreadBytes) StartReading();
}

Task<bool> HttpConnection::Write(std::string_view bytes) {
  Limit(shared_.times.block);
  const bool written = co_await stream_->Write(bytes);
  EndLimit();
  if (!written) closed_ = true;
  co_return written;
}

Task<void> HttpConnection::Refuse(int status, std::string_view text) {
  const HttpResponse response = PlainText(status, text);
  const std::string bytes = absl::StrCat(
      "HTTP/1.1 ", status, " ", std::string(ReasonOf(status)),
      "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ", response.body.size(),
      "\r\nConnection: close\r\n\r\n", response.body);
  co_await Write(bytes);
}

Task<void> HttpConnection::Linger() {
  if (ended_) co_return;
  SetWaiting(true);
  Limit(kLinger);
  co_await stream_->Finish();
  for (size_t bytes = 0; bytes < kMaxLingerBytes; bytes += unread_.size()) {
    unread_.clear();
    const bool has_more = co_await Fill();
    if (!has_more) break;
  }
}

void HttpConnection::Close() {
  closed_ = true;
  stream_->Close();
}

void HttpConnection::EndLimit() { limit_.expires_at(asio::steady_timer::time_point::max()); }

void HttpConnection::Limit(absl::Duration duration) {
  limit_.expires_after(absl::ToChronoNanoseconds(duration));
  limit_.async_wait([weak = weak_from_this()](error_code error) {
    const auto self = weak.lock();
    // A limit that was moved while this was on its way here has not passed.
    if (error || !self || self->limit_.expiry() > asio::steady_timer::clock_type::now()) return;
    self->Close();
  });
}

void HttpConnection::SetWaiting(bool waiting) {
  waiting_since_ =
      waiting ? absl::ToUnixNanos(shared_.clock->Now()) : std::numeric_limits<int64_t>::max();
}

}  // namespace denoise
