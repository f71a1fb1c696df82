#include "server/http/http_server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <exception>
#include <latch>
#include <map>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/status_macros.h"
#include "server/connections/acceptor.h"
#include "server/connections/peer_socket.h"
#include "server/connections/tls_context.h"

namespace denoise {
namespace {

namespace asio = boost::asio;

// Each serves any number of connections; what takes long is done elsewhere.
constexpr int kThreads = 2;

}  // namespace

class HttpServer::Impl {
 public:
  Impl(ListeningSockets sockets, Options options, std::unique_ptr<asio::ssl::context> tls)
      : options_(std::move(options)),
        bodies_(options_.body_bytes_max),
        answering_(options_.clock),
        shared_{options_.times, options_.handler, &bodies_,
                &answering_,    options_.clock,   options_.counts},
        admission_(asio::make_strand(io_)),
        tls_(std::move(tls)),
        limits_(options_.connections),
        acceptor_(io_, std::move(sockets), [this](int descriptor, const sockaddr_storage& peer) {
          asio::post(admission_, [this, descriptor, peer] { Admit(descriptor, peer); });
        }) {
    for (int i = 0; i < kThreads; ++i) threads_.emplace_back([this] { io_.run(); });
  }

  ~Impl() {
    io_.stop();
    for (std::thread& thread : threads_) thread.join();
  }

  // A connection that has run Close begins no further request.
  void Stop() {
    std::latch admission(1);
    std::optional<std::latch> connections;
    asio::post(admission_, [&] {
      stopped_ = true;
      connections.emplace(static_cast<std::ptrdiff_t>(places_.size()));
      for (const auto& [id, place] : places_) {
        asio::post(place.strand, [&connections, connection = place.connection] {
          connection->Close();
          connections->count_down();
        });
      }
      admission.count_down();
    });
    admission.wait();
    connections->wait();
    answering_.WaitUntilNone(absl::InfiniteFuture());
  }

  void WaitUntilAnswered(absl::Time deadline) { answering_.WaitUntilNone(deadline); }

  // Connections hold on to what they have begun with.
  void ReplaceTls(std::shared_ptr<asio::ssl::context> tls) {
    asio::post(admission_, [this, tls = std::move(tls)] { tls_ = tls; });
  }

 private:
  // That a connection takes.
  struct Place {
    std::shared_ptr<HttpConnection> connection;
    asio::any_io_executor strand;
    std::string address;
    std::unique_ptr<ConnectionLimits::Slot> slot;
  };
  using Places = std::map<int64_t, Place>;

  void Admit(int descriptor, const sockaddr_storage& peer) {
    if (stopped_) return Abort(descriptor);
    const std::string address = AddressKey(PeerText(peer));
    auto slot = limits_.Admit(address, options_.clock->Now(),
                              [this](const auto& of) { return MakeRoom(of); });
    if (!slot.ok()) return Abort(descriptor);
    SetNoDelay(descriptor);
    LimitSilence(descriptor, options_.times.block);
    StreamSocket socket(asio::make_strand(io_), asio::generic::stream_protocol(peer.ss_family, 0),
                        descriptor);
    const asio::any_io_executor strand = socket.get_executor();
    auto connection = std::make_shared<HttpConnection>(
        MakeByteStream(std::move(socket), tls_.get()), strand, shared_);
    const int64_t id = next_id_++;
    places_.try_emplace(id, Place{connection, strand, address, *std::move(slot)});
    asio::co_spawn(
        strand, [connection] { return connection->Run(); },
        [this, id](const std::exception_ptr&) {
          asio::post(admission_, [this, id] { Leave(places_.find(id)); });
        });
    CountConnections();
  }

  // Ends the connection of `address`, or of any, that has waited for a request for longest.
  bool MakeRoom(const std::optional<std::string>& address) {
    auto longest = places_.end();
    for (auto it = places_.begin(); it != places_.end(); ++it) {
      if (address && it->second.address != *address) continue;
      if (longest == places_.end() || WaitingSince(it) < WaitingSince(longest)) longest = it;
    }
    if (longest == places_.end() || WaitingSince(longest) > options_.clock->Now()) return false;
    Leave(longest);
    return true;
  }

  static absl::Time WaitingSince(Places::iterator place) {
    return place->second.connection->waiting_since();
  }

  void Leave(Places::iterator place) {
    if (place == places_.end()) return;  // it had to make room before it ended
    asio::post(place->second.strand,
               [connection = place->second.connection] { connection->Close(); });
    places_.erase(place);
    CountConnections();
  }

  void CountConnections() {
    if (options_.on_connections) options_.on_connections(limits_.connections());
  }

  const Options options_;
  BodyBudget bodies_;
  LiveCalls answering_;
  const HttpShared shared_;
  asio::io_context io_{kThreads};
  const asio::any_io_executor admission_;    // a strand, of all that follows
  std::shared_ptr<asio::ssl::context> tls_;  // null: none
  ConnectionLimits limits_;
  Places places_;
  int64_t next_id_ = 0;
  bool stopped_ = false;
  Acceptor acceptor_;
  std::vector<std::thread> threads_;
};

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(ListeningSockets sockets,
                                                              Options options) {
  ASSIGN_OR_RETURN(std::unique_ptr<asio::ssl::context> tls, MakeTlsContext(options.tls, kHttp11));
  return std::unique_ptr<HttpServer>(new HttpServer(
      std::make_unique<Impl>(std::move(sockets), std::move(options), std::move(tls))));
}

absl::Status HttpServer::ReplaceTls(const TlsFiles& files) {
  ASSIGN_OR_RETURN(std::unique_ptr<asio::ssl::context> tls, MakeTlsContext(files, kHttp11));
  impl_->ReplaceTls(std::move(tls));
  return absl::OkStatus();
}

void HttpServer::Stop() { impl_->Stop(); }

void HttpServer::WaitUntilAnswered(absl::Time deadline) { impl_->WaitUntilAnswered(deadline); }

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

}  // namespace denoise
