// Listens for HTTP/1.1 and serves every connection, within limits.
//
// A few threads serve any number of connections: a connection is a coroutine. What a client takes
// too long to send or to take ends its connection, and where all places are taken, the connection
// that has asked for nothing for longest makes room. A client that opens connections and says
// nothing therefore holds up nobody.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/connections/connection_limits.h"
#include "server/connections/listen_address.h"
#include "server/connections/tls_context.h"
#include "server/http/http_connection.h"

namespace denoise {

class HttpServer {
 public:
  struct Options {
    ConnectionLimits::Limits connections;
    HttpTimes times = {};
    int64_t body_bytes_max = 0;  // of all requests together
    TlsFiles tls = {};
    HttpHandler handler;  // called by any of the threads
    // May be empty; called by one thread at a time.
    std::function<void(int connections)> on_connections = {};
    const Clock* clock = &Clock::Real();
    HttpCounts counts = {};
  };

  // InvalidArgument if the TLS files are not what they should be.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(ListeningSockets sockets,
                                                           Options options);
  // For new connections. InvalidArgument if the files are not what they should be: then nothing
  // changes. Thread-safe.
  absl::Status ReplaceTls(const TlsFiles& files);

  // Returns once all requests are answered, or at `deadline`.
  void WaitUntilAnswered(absl::Time deadline);

  // Accepts and begins nothing more, closes all connections, and returns once no handler runs. Those
  // that wait for something else than their client must not wait for ever.
  void Stop();

  ~HttpServer();  // after Stop

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace denoise
