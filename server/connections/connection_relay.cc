#include "server/connections/connection_relay.h"

#include <openssl/rand.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <list>
#include <map>
#include <optional>
#include <string_view>
#include <thread>
#include <type_traits>
#include <unordered_set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "server/connections/acceptor.h"
#include "server/connections/log_limit.h"
#include "server/connections/open_calls.h"
#include "server/connections/peer_socket.h"
#include "server/connections/tls_context.h"
#include "server/telemetry/log.h"

namespace denoise {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Socket = asio::generic::stream_protocol::socket;
using TlsSocket = asio::ssl::stream<Socket>;

constexpr size_t kBufferBytes = 16 << 10;  // also the most that a TLS record holds
constexpr std::chrono::milliseconds kMemoryCheckInterval(100);
// While memory is short, a few connections are taken, so that a probe finds out that the process
// lives: ending it would only lose its work. Calls are refused on these, too.
constexpr ConnectionLimits::Limits kWhileMemoryIsShort = {.connections = 64,
                                                          .connections_per_address = 4};

// A connection as others see it that need its place.
class Place {
 public:
  Place() = default;
  virtual ~Place() = default;
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  // As ConnectionLimits knows it.
  virtual const std::string& address() const = 0;
  // Since when it has had no call; InfiniteFuture if it has one.
  virtual absl::Time idle_since() const = 0;
  // Closes the connection, which is then no longer counted.
  virtual void GiveUp(const std::string& why) = 0;
};

// What all connections of a relay share. Used by its thread alone.
struct Shared {
  explicit Shared(ConnectionRelay::Options given)
      : options(std::move(given)),
        limits(options.connections),
        limits_of_memory(kWhileMemoryIsShort) {}

  // Floods of connections must not become floods of log lines.
  void Refuse(ConnectionRelay::Refusal kind, const std::string& peer, const std::string& reason) {
    if (options.on_refusal) options.on_refusal(kind);
    const auto lines_left_out = log_lines.try_emplace(kind, options.clock).first->second.Take();
    if (!lines_left_out) return;
    LogEvent(spdlog::level::warn, "connection refused",
             {{"peer", peer.empty() ? "unix" : peer},
              {"reason", reason},
              {"lines_left_out", *lines_left_out}});
  }
  // Closes the connection of `address`, or of all, that has been idle for longest and for long
  // enough.
  bool MakeRoom(const std::optional<std::string>& address) {
    Place* longest = nullptr;
    for (Place* place : places) {
      if (address && place->address() != *address) continue;
      if (longest == nullptr || place->idle_since() < longest->idle_since()) longest = place;
    }
    const absl::Time now = options.clock->Now();
    if (longest == nullptr || longest->idle_since() + options.idle_time > now) return false;
    longest->GiveUp(absl::StrCat("it has had no call for ",
                                 absl::ToInt64Seconds(now - longest->idle_since()),
                                 " s, and another connection needs its place"));
    return true;
  }
  // Closes the connection of `address`, or of all, that has held a place of short memory for longest:
  // a probe is a new connection.
  bool MakeRoomOfMemory(const std::optional<std::string>& address) {
    for (Place* place : in_short_memory) {
      if (address && place->address() != *address) continue;
      place->GiveUp("memory is short, and another connection needs its place");
      return true;
    }
    return false;
  }
  void CountConnections() {
    if (options.on_connections) options.on_connections(limits.connections());
  }

  const ConnectionRelay::Options options;
  ConnectionLimits limits;
  ConnectionLimits limits_of_memory;
  std::shared_ptr<asio::ssl::context> tls;  // null: none
  std::unordered_set<Place*> places;        // that are taken
  std::list<Place*> in_short_memory;        // those of limits_of_memory; the oldest first
  // A flood of one kind must not hide the reason of another.
  std::map<ConnectionRelay::Refusal, LogLimit> log_lines;
};

// A connected pair of sockets: `ours` is read and written here, `theirs` given to gRPC.
struct SocketPair {
  int ours = -1;
  int theirs = -1;
};

std::optional<SocketPair> MakePair() {
  int descriptors[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, descriptors) != 0)
    return std::nullopt;
  return SocketPair{descriptors[0], descriptors[1]};
}

// Gives an unnamed socket of a pair an address that nobody can guess, in the abstract namespace
// (unix(7)), where nothing listens. Returns what gRPC calls its peer then.
std::optional<std::string> NameSocket(int descriptor) {
  unsigned char random[16];
  if (RAND_bytes(random, sizeof(random)) != 1) return std::nullopt;
  const std::string name =
      absl::BytesToHexString({reinterpret_cast<char*>(random), sizeof(random)});
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  name.copy(address.sun_path + 1, name.size());
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  if (bind(descriptor, reinterpret_cast<const sockaddr*>(&address), size) != 0) return std::nullopt;
  return "unix-abstract:" + name;
}

// The places that a connection takes.
struct Slots {
  std::unique_ptr<ConnectionLimits::Slot> ordinary;
  std::unique_ptr<ConnectionLimits::Slot> of_memory;  // null: memory was not short
};

// Keeps itself alive by the handlers of what it waits for. `Client` is Socket or TlsSocket.
template <class Client>
class Connection final : public Place, public std::enable_shared_from_this<Connection<Client>> {
 public:
  Connection(Client client, asio::local::stream_protocol::socket grpc, int for_grpc,
             std::string peer, Slots slots, Shared& shared)
      : shared_(shared),
        counted_(shared.options.connection_count),
        peer_(std::move(peer)),
        address_(AddressKey(peer_)),
        slot_(std::move(slots.ordinary)),
        slot_of_memory_(std::move(slots.of_memory)),
        calls_(shared.options.clock->Now()),
        guard_(shared.options.http2, shared.options.clock->Now(), &slot_->budget(),
               [this](const Http2Frame& frame) {
                 calls_.OnClientFrame(frame, shared_.options.clock->Now());
               }),
        client_(std::move(client)),
        grpc_(std::move(grpc)),
        for_grpc_(for_grpc),
        deadline_(client_.get_executor()),
        memory_timer_(client_.get_executor()) {
    shared_.places.insert(this);
    if (slot_of_memory_) shared_.in_short_memory.push_back(this);
  }

  ~Connection() override {
    if (for_grpc_ >= 0) close(for_grpc_);
    if (!certified_peer_.empty()) shared_.options.on_leave(certified_peer_);
    if (slot_) LeavePlace();
  }

  const std::string& address() const override { return address_; }
  absl::Time idle_since() const override { return calls_.idle_since(); }
  void GiveUp(const std::string& why) override {
    shared_.Refuse(ConnectionRelay::Refusal::kConnections, peer_, why);
    Close();
    LeavePlace();
  }

  void Start() {
    if (slot_of_memory_) LeaveUnlessMemoryIsBack();
    deadline_.expires_after(absl::ToChronoNanoseconds(shared_.options.handshake_time));
    deadline_.async_wait([self = this->shared_from_this()](error_code error) {
      if (!error && self->for_grpc_ >= 0) self->Refuse("it has not begun to speak HTTP/2 in time");
    });
    if constexpr (std::is_same_v<Client, TlsSocket>) {
      client_.async_handshake(asio::ssl::stream_base::server,
                              [self = this->shared_from_this()](error_code error) {
                                if (error) return self->Refuse("the TLS handshake failed");
                                self->ReadFromClient();
                              });
    } else {
      ReadFromClient();
    }
  }

 private:
  // Makes room for another caller of its address. One that has a call, such as a watch of the
  // health, stays.
  void LeaveUnlessMemoryIsBack() {
    memory_timer_.expires_after(absl::ToChronoNanoseconds(shared_.options.short_memory_time));
    memory_timer_.async_wait([self = this->shared_from_this()](error_code error) {
      if (error || !self->client_.lowest_layer().is_open()) return;
      if (self->shared_.options.memory->Admit().ok()) return self->LeavePlaceOfMemory();
      if (self->idle_since() == absl::InfiniteFuture()) return self->LeaveUnlessMemoryIsBack();
      self->Close();
    });
  }

  void LeavePlaceOfMemory() {
    shared_.in_short_memory.remove(this);
    slot_of_memory_.reset();
  }

  void LeavePlace() {
    LeavePlaceOfMemory();
    shared_.places.erase(this);
    slot_.reset();
    shared_.CountConnections();
  }

  void ReadFromClient() {
    client_.async_read_some(asio::buffer(from_client_),
                            [self = this->shared_from_this()](error_code error, size_t bytes) {
                              if (error) return self->OnClientEnd(error);
                              self->OnClientBytes(bytes);
                            });
  }

  void OnClientBytes(size_t bytes) {
    if (!slot_) return;  // given up: there is no budget either
    const absl::Status status =
        guard_.Inspect({from_client_.data(), bytes}, shared_.options.clock->Now());
    if (!status.ok()) return Refuse(std::string(status.message()));
    if (guard_.established() && for_grpc_ >= 0) HandOver();
    asio::async_write(grpc_, asio::buffer(from_client_.data(), bytes),
                      [self = this->shared_from_this()](error_code error, size_t) {
                        if (error) return self->Close();
                        self->ReadFromClient();
                      });
  }

  void HandOver() {
    deadline_.cancel();
    if (!Certify()) return Close();
    shared_.options.serve(std::exchange(for_grpc_, -1));
    ReadFromGrpc();
  }

  // Ties the certificate to the name by which gRPC will know the connection: the address of our end
  // of the socket pair, which the kernel tells it.
  bool Certify() {
    if constexpr (std::is_same_v<Client, TlsSocket>) {
      if (!shared_.options.on_certificate) return true;
      const std::optional<std::string> peer = NameSocket(grpc_.native_handle());
      if (!peer) return false;
      certified_peer_ = *peer;
      shared_.options.on_certificate(*peer, CertificateNameOf(client_.native_handle()));
    }
    return true;
  }

  // A client that has said everything may still listen; gRPC decides when the connection is over.
  void OnClientEnd(error_code error) {
    if (error != asio::error::eof || for_grpc_ >= 0) return Close();
    error_code ignored;
    grpc_.shutdown(Socket::shutdown_send, ignored);
  }

  void ReadFromGrpc() {
    grpc_.async_read_some(asio::buffer(from_grpc_),
                          [self = this->shared_from_this()](error_code error, size_t bytes) {
                            if (error) return self->Close();
                            self->WriteToClient(bytes);
                          });
  }

  void WriteToClient(size_t bytes) {
    calls_.OnServerBytes({from_grpc_.data(), bytes}, shared_.options.clock->Now());
    asio::async_write(client_, asio::buffer(from_grpc_.data(), bytes),
                      [self = this->shared_from_this()](error_code error, size_t) {
                        if (error) return self->Close();
                        self->ReadFromGrpc();
                      });
  }

  void Refuse(const std::string& reason) {
    if (!client_.lowest_layer().is_open()) return;
    shared_.Refuse(ConnectionRelay::Refusal::kProtocol, peer_, reason);
    Close();
  }

  // What is under way ends with an error, and lets go of the connection.
  void Close() {
    error_code ignored;
    deadline_.cancel();
    memory_timer_.cancel();
    grpc_.close(ignored);
    client_.lowest_layer().close(ignored);
  }

  Shared& shared_;
  const CountedObject counted_;
  const std::string peer_;
  const std::string address_;
  std::unique_ptr<ConnectionLimits::Slot> slot_;  // null once its place was needed
  std::unique_ptr<ConnectionLimits::Slot> slot_of_memory_;
  OpenCalls calls_;
  Http2Guard guard_;
  Client client_;
  asio::local::stream_protocol::socket grpc_;
  int for_grpc_;                 // gRPC's end, until it is handed over
  std::string certified_peer_;   // what gRPC calls it, where that has a certificate
  asio::steady_timer deadline_;  // for the handshake
  asio::steady_timer memory_timer_;
  std::array<char, kBufferBytes> from_client_;
  std::array<char, kBufferBytes> from_grpc_;
};

}  // namespace

class ConnectionRelay::Impl {
 public:
  Impl(ListeningSockets sockets, Options options, std::unique_ptr<asio::ssl::context> tls)
      : shared_(std::move(options)),
        acceptor_(
            io_, std::move(sockets),
            [this](int descriptor, const sockaddr_storage& peer) { Admit(descriptor, peer); },
            [this](int error) { shared_.Refuse(Refusal::kDescriptors, "", std::strerror(error)); }),
        memory_timer_(io_) {
    shared_.tls = std::move(tls);
    CheckMemory();
    thread_ = std::thread([this] { io_.run(); });
  }

  ~Impl() {
    io_.stop();
    thread_.join();
  }

  // Connections hold on to what they have begun with.
  void ReplaceTls(std::shared_ptr<asio::ssl::context> tls) {
    asio::post(io_, [this, tls = std::move(tls)] { shared_.tls = tls; });
  }

 private:
  void Admit(int descriptor, const sockaddr_storage& peer_address) {
    const std::string peer = PeerText(peer_address);
    const absl::Time now = shared_.options.clock->Now();
    Slots slots;
    if (const absl::Status memory = shared_.options.memory->Admit(); !memory.ok()) {
      auto slot = shared_.limits_of_memory.Admit(
          AddressKey(peer), now,
          [this](const auto& address) { return shared_.MakeRoomOfMemory(address); });
      if (!slot.ok()) {
        shared_.Refuse(Refusal::kMemory, peer, std::string(memory.message()));
        return Abort(descriptor);
      }
      slots.of_memory = *std::move(slot);
    }
    auto slot = shared_.limits.Admit(
        AddressKey(peer), now, [this](const auto& address) { return shared_.MakeRoom(address); });
    if (!slot.ok()) {
      shared_.Refuse(Refusal::kConnections, peer, std::string(slot.status().message()));
      return Abort(descriptor);
    }
    slots.ordinary = *std::move(slot);
    const std::optional<SocketPair> pair = MakePair();
    if (!pair) {
      shared_.Refuse(Refusal::kDescriptors, peer, std::strerror(errno));
      return Abort(descriptor);
    }
    SetNoDelay(descriptor);
    LimitSilence(descriptor, shared_.options.unread_time);
    Socket client(io_, asio::generic::stream_protocol(peer_address.ss_family, 0), descriptor);
    if (shared_.tls) {
      Start(TlsSocket(std::move(client), *shared_.tls), *pair, peer, std::move(slots));
    } else {
      Start(std::move(client), *pair, peer, std::move(slots));
    }
    shared_.CountConnections();
  }

  template <class Client>
  void Start(Client client, const SocketPair& pair, const std::string& peer, Slots slots) {
    asio::local::stream_protocol::socket grpc(io_, asio::local::stream_protocol(), pair.ours);
    std::make_shared<Connection<Client>>(std::move(client), std::move(grpc), pair.theirs, peer,
                                         std::move(slots), shared_)
        ->Start();
  }

  void CheckMemory() {
    shared_.options.memory->Check(shared_.options.clock->Now());
    memory_timer_.expires_after(kMemoryCheckInterval);
    memory_timer_.async_wait([this](error_code error) {
      if (!error) CheckMemory();
    });
  }

  Shared shared_;  // which connections use until io_ is gone
  asio::io_context io_{1};
  Acceptor acceptor_;
  asio::steady_timer memory_timer_;
  std::thread thread_;
};

absl::StatusOr<std::unique_ptr<ConnectionRelay>> ConnectionRelay::Start(ListeningSockets sockets,
                                                                        Options options) {
  ASSIGN_OR_RETURN(std::unique_ptr<asio::ssl::context> tls, MakeTlsContext(options.tls, kHttp2));
  return std::unique_ptr<ConnectionRelay>(new ConnectionRelay(
      std::make_unique<Impl>(std::move(sockets), std::move(options), std::move(tls))));
}

absl::Status ConnectionRelay::ReplaceTls(const TlsFiles& files) {
  ASSIGN_OR_RETURN(std::unique_ptr<asio::ssl::context> tls, MakeTlsContext(files, kHttp2));
  impl_->ReplaceTls(std::move(tls));
  return absl::OkStatus();
}

ConnectionRelay::ConnectionRelay(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ConnectionRelay::~ConnectionRelay() = default;

}  // namespace denoise
