#include "server/connections/acceptor.h"

#include <cerrno>
#include <chrono>
#include <utility>

namespace denoise {
namespace {

using boost::system::error_code;

constexpr int kAcceptedAtOnce = 64;
constexpr std::chrono::milliseconds kRetryAccept(100);

}  // namespace

Acceptor::Acceptor(boost::asio::io_context& io, ListeningSockets sockets,
                   OnConnection on_connection, OnShortage on_shortage)
    : on_connection_(std::move(on_connection)), on_shortage_(std::move(on_shortage)) {
  for (const int descriptor : sockets.Release()) Listen(listeners_.emplace_back(io, descriptor));
}

void Acceptor::Listen(Listener& listener) {
  listener.socket.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                             [this, &listener](error_code error) {
                               if (!error) Accept(listener);
                             });
}

void Acceptor::Accept(Listener& listener) {
  for (int i = 0; i < kAcceptedAtOnce; ++i) {
    sockaddr_storage peer{};
    socklen_t length = sizeof(peer);
    const int descriptor =
        accept4(listener.socket.native_handle(), reinterpret_cast<sockaddr*>(&peer), &length,
                SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor >= 0) {
      on_connection_(descriptor, peer);
    } else if (errno == EAGAIN) {
      break;
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      if (on_shortage_) on_shortage_(errno);
      return ListenLater(listener);
    }  // else one that has gone again
  }
  Listen(listener);
}

// A connection that waits in the kernel keeps the socket readable, so this would spin otherwise.
void Acceptor::ListenLater(Listener& listener) {
  listener.retry.expires_after(kRetryAccept);
  listener.retry.async_wait([this, &listener](error_code error) {
    if (!error) Listen(listener);
  });
}

}  // namespace denoise
