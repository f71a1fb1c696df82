// A connection over HTTP/1.1: requests and their answers, one after the other.
#pragma once

#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/object_count.h"
#include "server/http/byte_stream.h"
#include "server/http/http_exchange.h"
#include "server/rpc/live_calls.h"

namespace denoise {

struct HttpTimes {
  absl::Duration head = absl::Seconds(10);  // for TLS, and for the head of a request
  absl::Duration idle = absl::Seconds(60);  // between two requests
  // For the client to send or take one block of bytes, or to send the whole body of a single message.
  absl::Duration block = absl::Seconds(60);
};

// How many bytes of bodies all requests may hold at a time. Thread-safe.
class BodyBudget {
 public:
  explicit BodyBudget(int64_t bytes_max) : bytes_max_(bytes_max) {}
  bool Take(int64_t bytes) {
    if (bytes_.fetch_add(bytes) + bytes <= bytes_max_) return true;
    bytes_ -= bytes;
    return false;
  }
  void Give(int64_t bytes) { bytes_ -= bytes; }

 private:
  const int64_t bytes_max_;
  std::atomic<int64_t> bytes_ = 0;
};

// Where connections and their requests are counted. Null: nowhere.
struct HttpCounts {
  ObjectCount* connections = nullptr;
  ObjectCount* requests = nullptr;
};

using HttpHandler = std::function<Task<void>(HttpExchange&)>;

// What connections share. Outlives them.
struct HttpShared {
  HttpTimes times;
  HttpHandler handler;
  BodyBudget* bodies;
  LiveCalls* answering;  // counts requests
  const Clock* clock = &Clock::Real();
  HttpCounts counts = {};
};

// Used on its strand, but for what says otherwise. Kept alive by what is under way.
class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  HttpConnection(std::unique_ptr<ByteStream> stream, boost::asio::any_io_executor strand,
                 const HttpShared& shared);

  // Serves until the connection ends.
  Task<void> Run();
  void Close();

  // Since when it has waited for the client to ask for something; InfiniteFuture while there is
  // something to answer. Thread-safe.
  absl::Time waiting_since() const { return absl::FromUnixNanos(waiting_since_); }

 private:
  class Exchange;

  Task<bool> ServeOne();
  // Waits for more bytes; false once there are none.
  Task<bool> Fill();
  void StartReading();
  Task<void> ReadOnce();
  Task<bool> Write(std::string_view bytes);
  Task<void> Refuse(int status, std::string_view text);
  // Reads on for a moment, so that a client that has sent more than was read gets its answer: closing
  // at once would reset the connection.
  Task<void> Linger();
  // Closes the connection unless EndLimit or another Limit comes within `duration`.
  void Limit(absl::Duration duration);
  void EndLimit();
  void SetWaiting(bool waiting);

  const std::unique_ptr<ByteStream> stream_;
  std::string certificate_name_;  // known after the handshake
  const boost::asio::any_io_executor strand_;
  const HttpShared& shared_;
  const CountedObject counted_;
  boost::asio::steady_timer limit_;
  boost::asio::steady_timer read_done_;  // its waits end when a read does
  std::string unread_;                   // bytes that are not yet part of a request
  bool reading_ = false;
  bool ended_ = false;   // the client has sent its last
  bool closed_ = false;  // nothing more can be written
  std::function<void()> on_gone_;
  std::atomic<int64_t> waiting_since_;  // nanoseconds since the Unix epoch
};

}  // namespace denoise
