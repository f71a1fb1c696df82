#include "server/http/byte_stream.h"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <type_traits>
#include <utility>

#include "server/connections/tls_context.h"

namespace denoise {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using TlsSocket = asio::ssl::stream<StreamSocket>;

template <class Socket>
class SocketStream final : public ByteStream {
 public:
  static constexpr bool kTls = std::is_same_v<Socket, TlsSocket>;

  template <class... Args>
  explicit SocketStream(Args&&... args) : socket_(std::forward<Args>(args)...) {}

  Task<bool> Handshake() override {
    error_code error;
    if constexpr (kTls) {
      co_await socket_.async_handshake(asio::ssl::stream_base::server, Into(error));
    }
    co_return !error;
  }

  std::string certificate_name() override {
    if constexpr (kTls) {
      return CertificateNameOf(socket_.native_handle());
    } else {
      return "";
    }
  }

  Task<size_t> Read(asio::mutable_buffer buffer) override {
    error_code error;
    const size_t bytes = co_await socket_.async_read_some(buffer, Into(error));
    co_return error ? 0 : bytes;
  }

  Task<bool> Write(std::string_view bytes) override {
    error_code error;
    co_await asio::async_write(socket_, asio::buffer(bytes.data(), bytes.size()), Into(error));
    co_return !error;
  }

  Task<void> Finish() override {
    error_code error;
    if constexpr (kTls) {
      co_await socket_.async_shutdown(Into(error));
    } else {
      socket_.shutdown(StreamSocket::shutdown_send, error);
    }
    co_return;  // without it, this would be no coroutine where there is no TLS
  }

  void Close() override {
    error_code ignored;
    socket_.lowest_layer().close(ignored);
  }

 private:
  static auto Into(error_code& error) { return asio::redirect_error(asio::use_awaitable, error); }

  Socket socket_;
};

}  // namespace

std::unique_ptr<ByteStream> MakeByteStream(StreamSocket socket, asio::ssl::context* tls) {
  if (tls == nullptr) return std::make_unique<SocketStream<StreamSocket>>(std::move(socket));
  return std::make_unique<SocketStream<TlsSocket>>(std::move(socket), *tls);
}

}  // namespace denoise
