// A TCP connection for a look at who listens: whatever the other side does, all ends by a deadline.
#pragma once

#include <netdb.h>
#include <sys/socket.h>

#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "client/server_address.h"
#include "core/base/file_descriptor.h"

namespace denoise {

struct SocketAddress {
  sockaddr_storage bytes;
  socklen_t size;
};

// getaddrinfo(), which takes as long as it likes.
using Resolver = int (*)(const char* host, const char* port, const addrinfo* hints,
                         addrinfo** found);

// Returns the first two addresses of `endpoint`; none if it has none or they are not found in time.
// In the latter case `resolver` keeps running on a thread of its own.
std::vector<SocketAddress> Resolve(const Endpoint& endpoint, absl::Time deadline,
                                   Resolver resolver);

class TimedSocket {
 public:
  // Connects to the first of `addresses` that answers.
  TimedSocket(const std::vector<SocketAddress>& addresses, absl::Time deadline);

  bool connected() const { return socket_.get() >= 0; }
  // Whether the other side has closed or reset the connection.
  bool closed() const { return closed_; }

  // False if not all of `bytes` was sent.
  bool Send(std::string_view bytes);
  // What has arrived, once something has; empty if nothing more comes.
  std::string Receive();

 private:
  const absl::Time deadline_;
  const FileDescriptor socket_;
  bool closed_ = false;
};

}  // namespace denoise
