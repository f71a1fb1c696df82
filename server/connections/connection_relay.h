// Accepts connections and relays their bytes to gRPC, within limits.
//
// gRPC 1.51 accepts any number of connections, stops listening for good when descriptors run out,
// and does not defend itself against floods of HTTP/2 frames. So it gets no port here. The relay
// listens, ends TLS, checks the frames of each connection (http2_guard.h), and passes the bytes on
// through a socket pair, one end of which gRPC serves as a connection of its own. That costs a copy
// each way.
//
// A client that has vanished does not keep its place: TCP's own timers end its connection, also
// where the relay waits to send to it and gRPC's pings do not get through.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "core/base/object_count.h"
#include "server/connections/connection_limits.h"
#include "server/connections/http2_guard.h"
#include "server/connections/listen_address.h"
#include "server/connections/memory_guard.h"
#include "server/connections/tls_context.h"

namespace denoise {

// Has one thread.
class ConnectionRelay {
 public:
  enum class Refusal {
    kConnections,  // a limit on their number or rate
    kMemory,       // the memory guard, and too many come anew
    kDescriptors,  // of the process
    kProtocol,     // not HTTP/2, or the guard
  };
  struct Options {
    ConnectionLimits::Limits connections;
    Http2Guard::Limits http2;
    // How long a client may take for TLS and the connection preface.
    absl::Duration handshake_time = absl::Seconds(10);
    // How long a client may acknowledge or read nothing of what is sent to it. Over TCP only.
    absl::Duration unread_time = absl::Seconds(60);
    // Where all places are taken, the connection that has had no call for longest makes room for a
    // new one, if that is longer than this.
    absl::Duration idle_time = absl::Seconds(5);
    // While memory is short, the four latest connections of each address are kept, 64 in all. They
    // are closed after this long unless they have a call or memory is back.
    absl::Duration short_memory_time = absl::Seconds(2);
    TlsFiles tls = {};
    MemoryGuard* memory;  // which the relay keeps checking
    const Clock* clock = &Clock::Real();
    // Takes the ownership of a connected, non-blocking socket on which a client speaks HTTP/2.
    std::function<void(int descriptor)> serve;
    // Where clients need a certificate: comes before `serve`, with what gRPC will call the peer, a
    // name that no other connection gets and that clients cannot choose, and whom the certificate
    // names. `on_leave` comes once the connection has ended. May be empty.
    std::function<void(const std::string& peer, const std::string& name)> on_certificate = {};
    std::function<void(const std::string& peer)> on_leave = {};
    // Called by the relay's thread; may be empty.
    std::function<void(int connections)> on_connections = {};
    std::function<void(Refusal)> on_refusal = {};
    ObjectCount* connection_count = nullptr;  // may be null
  };

  // InvalidArgument if the TLS files are not what they should be.
  static absl::StatusOr<std::unique_ptr<ConnectionRelay>> Start(ListeningSockets sockets,
                                                                Options options);
  ~ConnectionRelay();  // closes all connections

  // For new connections. InvalidArgument if the files are not what they should be: then nothing
  // changes. Thread-safe.
  absl::Status ReplaceTls(const TlsFiles& files);

 private:
  class Impl;
  explicit ConnectionRelay(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace denoise
