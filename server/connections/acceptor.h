// Accepts connections on listening sockets, and continues after running out of descriptors or
// memory.
#pragma once

#include <sys/socket.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <list>

#include "server/connections/listen_address.h"

namespace denoise {

// Belongs to the thread that runs `io`, which outlives it.
class Acceptor {
 public:
  // Takes the ownership of a connected, non-blocking socket.
  using OnConnection = std::function<void(int descriptor, const sockaddr_storage& peer)>;
  // Why the kernel gives out no connections for now (an errno). May be empty.
  using OnShortage = std::function<void(int error)>;

  Acceptor(boost::asio::io_context& io, ListeningSockets sockets, OnConnection on_connection,
           OnShortage on_shortage = {});

 private:
  struct Listener {
    Listener(boost::asio::io_context& io, int descriptor) : socket(io, descriptor), retry(io) {}
    boost::asio::posix::stream_descriptor socket;
    boost::asio::steady_timer retry;
  };

  void Listen(Listener& listener);
  void Accept(Listener& listener);
  void ListenLater(Listener& listener);

  const OnConnection on_connection_;
  const OnShortage on_shortage_;
  std::list<Listener> listeners_;
};

}  // namespace denoise
