// The bytes of a connection, with TLS or without.
#pragma once

#include <boost/asio/buffer.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ssl/context.hpp>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "server/http/task.h"

namespace denoise {

// Not thread-safe. At most one read and one write are under way at a time.
class ByteStream {
 public:
  ByteStream() = default;
  virtual ~ByteStream() = default;
  ByteStream(const ByteStream&) = delete;
  ByteStream& operator=(const ByteStream&) = delete;

  // Comes before all else. False where the client does not speak TLS as it should.
  virtual Task<bool> Handshake() = 0;
  // Whom the client's certificate names (tls_context.h); empty where it has none.
  virtual std::string certificate_name() = 0;
  // Waits for bytes; 0 once the client has sent its last, or has gone.
  virtual Task<size_t> Read(boost::asio::mutable_buffer buffer) = 0;
  // False once the client has gone.
  virtual Task<bool> Write(std::string_view bytes) = 0;
  // Says that nothing more will be written.
  virtual Task<void> Finish() = 0;
  // Ends all that is under way.
  virtual void Close() = 0;
};

using StreamSocket = boost::asio::generic::stream_protocol::socket;

// `tls` is null where there is none.
std::unique_ptr<ByteStream> MakeByteStream(StreamSocket socket, boost::asio::ssl::context* tls);

}  // namespace denoise
