#include "server/telemetry/metrics_endpoint.h"

#include <prometheus/text_serializer.h>
#include <sys/socket.h>

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_static_buffer.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <list>
#include <string_view>
#include <thread>
#include <utility>

#include "core/base/status_macros.h"
#include "server/connections/acceptor.h"
#include "server/connections/listen_address.h"

namespace denoise {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;

constexpr std::chrono::seconds kRequestTime(5);  // to ask and to take the answer
constexpr size_t kMaxConnections = 64;
constexpr size_t kMaxRequestBytes = 8 << 10;

// One request and its answer. Keeps itself alive by the handlers of what it waits for.
class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  using Socket = asio::generic::stream_protocol::socket;

  Exchange(Socket socket, prometheus::Registry& registry)
      : stream_(std::move(socket)), registry_(registry) {
    request_.header_limit(kMaxRequestBytes);
    request_.body_limit(0);
  }

  void Start() {
    stream_.expires_after(kRequestTime);
    http::async_read(stream_, buffer_, request_,
                     [self = shared_from_this()](error_code error, size_t) {
                       if (!error) self->Answer();
                     });
  }

  void Close() { stream_.close(); }

 private:
  void Answer() {
    const http::request<http::empty_body>& request = request_.get();
    const auto target = request.target();
    const std::string_view path = std::string_view(target.data(), target.size());
    response_.version(request.version());
    response_.keep_alive(false);
    if (path.substr(0, path.find('?')) != "/metrics") {
      response_.result(http::status::not_found);
    } else if (request.method() != http::verb::get && request.method() != http::verb::head) {
      response_.result(http::status::method_not_allowed);
      response_.set(http::field::allow, "GET, HEAD");
    } else {
      response_.set(http::field::content_type, "text/plain; version=0.0.4; charset=utf-8");
      response_.body() = prometheus::TextSerializer().Serialize(registry_.Collect());
    }
    response_.prepare_payload();
    if (request.method() == http::verb::head) response_.body().clear();
    http::async_write(stream_, response_, [self = shared_from_this()](error_code, size_t) {
      error_code ignored;
      self->stream_.socket().shutdown(Socket::shutdown_both, ignored);
    });
  }

  beast::basic_stream<asio::generic::stream_protocol> stream_;
  prometheus::Registry& registry_;
  beast::flat_static_buffer<kMaxRequestBytes> buffer_;
  http::request_parser<http::empty_body> request_;
  http::response<http::string_body> response_;
};

}  // namespace

class MetricsEndpoint::Impl {
 public:
  Impl(ListeningSockets sockets, std::shared_ptr<prometheus::Registry> registry)
      : registry_(std::move(registry)),
        acceptor_(io_, std::move(sockets), [this](int descriptor, const sockaddr_storage& peer) {
          Serve(
              Exchange::Socket(io_, asio::generic::stream_protocol(peer.ss_family, 0), descriptor));
        }) {
    thread_ = std::thread([this] { io_.run(); });
  }

  ~Impl() {
    io_.stop();
    thread_.join();
  }

 private:
  // Serves every connection at once. If there are too many, the oldest is closed.
  void Serve(Exchange::Socket socket) {
    exchanges_.remove_if([](const auto& exchange) { return exchange.expired(); });
    while (exchanges_.size() >= kMaxConnections) {
      if (const auto oldest = exchanges_.front().lock()) oldest->Close();
      exchanges_.pop_front();
    }
    const auto exchange = std::make_shared<Exchange>(std::move(socket), *registry_);
    exchanges_.push_back(exchange);
    exchange->Start();
  }

  const std::shared_ptr<prometheus::Registry> registry_;
  asio::io_context io_{1};
  Acceptor acceptor_;
  std::list<std::weak_ptr<Exchange>> exchanges_;
  std::thread thread_;
};

absl::StatusOr<std::unique_ptr<MetricsEndpoint>> MetricsEndpoint::Start(
    const std::string& address, std::shared_ptr<prometheus::Registry> registry) {
  ASSIGN_OR_RETURN(const ListenAddress where, ParseListenAddress(address));
  ASSIGN_OR_RETURN(ListeningSockets sockets, ListeningSockets::Open(where));
  std::string taken = sockets.address();
  return std::unique_ptr<MetricsEndpoint>(new MetricsEndpoint(
      std::make_unique<Impl>(std::move(sockets), std::move(registry)), std::move(taken)));
}

MetricsEndpoint::MetricsEndpoint(std::unique_ptr<Impl> impl, std::string address)
    : impl_(std::move(impl)), address_(std::move(address)) {}
MetricsEndpoint::~MetricsEndpoint() = default;

}  // namespace denoise
