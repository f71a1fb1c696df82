// The relay over real sockets, with a server behind it that sends back what it is sent.
#include "server/connections/connection_relay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <list>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "core/base/mutex.h"

namespace denoise {
namespace {

constexpr char kPreface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

std::string DataFrame(const std::string& payload) {
  const auto byte = [&](int shift) { return static_cast<char>(payload.size() >> shift & 0xff); };
  return std::string{byte(16), byte(8), byte(0), 0, 0, 0, 0, 0, 1} + payload;
}

class Peer {
 public:
  explicit Peer(const std::string& address) {
    sockaddr_in to{};
    int port = 0;
    EXPECT_TRUE(absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port));
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(static_cast<uint16_t>(port));
    EXPECT_EQ(connect(socket_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)), 0);
  }
  ~Peer() { close(socket_); }

  void Send(const std::string& bytes) {
    size_t sent = 0;
    while (sent < bytes.size()) {
      const ssize_t count = send(socket_, &bytes[sent], bytes.size() - sent, MSG_NOSIGNAL);
      if (count <= 0) return;
      sent += static_cast<size_t>(count);
    }
  }
  void SendEnd() { shutdown(socket_, SHUT_WR); }

  // What comes until there are `bytes` of it or the other side closes.
  std::string Receive(size_t bytes) {
    std::string received(bytes, '\0');
    size_t count = 0;
    while (count < bytes) {
      const ssize_t more = recv(socket_, &received[count], bytes - count, 0);
      if (more <= 0) break;
      count += static_cast<size_t>(more);
    }
    received.resize(count);
    return received;
  }
  bool IsClosed() { return Receive(1).empty(); }

 private:
  const int socket_ = socket(AF_INET, SOCK_STREAM, 0);
};

class ConnectionRelayTest : public testing::Test {
 protected:
  ~ConnectionRelayTest() override {
    relay_.reset();
    for (std::thread& server : servers_) server.join();
  }

  void Start(ConnectionRelay::Options options = {}) {
    auto sockets = *ListeningSockets::Open(*ParseListenAddress("127.0.0.1:0"));
    address_ = sockets.address();
    options.memory = &memory_;
    options.serve = [this](int descriptor) {
      servers_.emplace_back([descriptor] { Echo(descriptor); });
    };
    options.on_refusal = [this](ConnectionRelay::Refusal refusal) {
      const MutexLock lock(mutex_);
      refusals_.push_back(refusal);
      changed_.NotifyAll();
    };
    options.on_connections = [this](int connections) {
      const MutexLock lock(mutex_);
      connections_ = connections;
      changed_.NotifyAll();
    };
    auto relay = ConnectionRelay::Start(std::move(sockets), std::move(options));
    ASSERT_TRUE(relay.ok()) << relay.status();
    relay_ = *std::move(relay);
  }

  void WaitForConnections(int connections) {
    const MutexLock lock(mutex_);
    while (connections_ != connections) changed_.Wait(mutex_);
  }
  ConnectionRelay::Refusal WaitForRefusal() {
    const MutexLock lock(mutex_);
    while (refusals_.empty()) changed_.Wait(mutex_);
    return refusals_.back();
  }

  static void Echo(int descriptor) {
    char buffer[4096];
    for (pollfd ready{.fd = descriptor, .events = POLLIN, .revents = 0}; poll(&ready, 1, -1) > 0;) {
      const ssize_t count = recv(descriptor, buffer, sizeof(buffer), 0);
      if (count <= 0) break;
      for (ssize_t sent = 0; sent < count;) {
        pollfd room{.fd = descriptor, .events = POLLOUT, .revents = 0};
        poll(&room, 1, -1);
        const ssize_t more = send(descriptor, buffer + sent, count - sent, MSG_NOSIGNAL);
        if (more < 0) break;
        sent += more;
      }
    }
    close(descriptor);
  }

  std::atomic<int64_t> resident_ = 0;
  MemoryGuard memory_{
      {.limit_bytes = 1000, .resident_bytes = [this] { return resident_.load(); }, .trim = [] {}}};
  std::string address_;
  std::vector<std::thread> servers_;
  Mutex mutex_;
  CondVar changed_;
  std::vector<ConnectionRelay::Refusal> refusals_ ABSL_GUARDED_BY(mutex_);
  int connections_ ABSL_GUARDED_BY(mutex_) = 0;
  std::unique_ptr<ConnectionRelay> relay_;
};

TEST_F(ConnectionRelayTest, PassesBytesOnInBothDirections) {
  Start();
  Peer peer(address_);
  std::string all = kPreface;
  for (int i = 0; i < 50; ++i)
    all += DataFrame(std::string(10'000, static_cast<char>('a' + i % 26)));
  std::thread sender([&] { peer.Send(all); });
  EXPECT_EQ(peer.Receive(all.size()), all);
  sender.join();
  peer.SendEnd();
  EXPECT_TRUE(peer.IsClosed());
  WaitForConnections(0);
}

TEST_F(ConnectionRelayTest, WhatIsNotHttp2NeverReachesTheServer) {
  Start();
  Peer peer(address_);
  peer.Send("GET / HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(peer.IsClosed());
  EXPECT_EQ(WaitForRefusal(), ConnectionRelay::Refusal::kProtocol);
  WaitForConnections(0);
  EXPECT_TRUE(servers_.empty());
}

TEST_F(ConnectionRelayTest, AFloodIsClosedAndOthersAreServed) {
  Start({.http2 = {.resets = {.burst = 10, .per_second = 0}}});
  Peer peer(address_), other(address_);
  other.Send(kPreface);
  peer.Send(kPreface);
  const std::string reset{0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8};
  for (int i = 0; i < 100; ++i) peer.Send(reset);
  EXPECT_LT(peer.Receive(1 << 20).size(), sizeof(kPreface) + 12 * reset.size());
  EXPECT_EQ(WaitForRefusal(), ConnectionRelay::Refusal::kProtocol);
  EXPECT_EQ(other.Receive(sizeof(kPreface) - 1), kPreface);
}

TEST_F(ConnectionRelayTest, AClientThatSaysNothingIsGivenUp) {
  Start({.handshake_time = absl::Milliseconds(50)});
  Peer silent(address_), slow(address_);
  slow.Send("PRI * HT");
  EXPECT_TRUE(silent.IsClosed());
  EXPECT_TRUE(slow.IsClosed());
  WaitForConnections(0);
}

TEST_F(ConnectionRelayTest, ConnectionsBeyondTheLimitAreClosed) {
  Start({.connections = {.connections = 2}});
  Peer first(address_), second(address_), third(address_);
  EXPECT_TRUE(third.IsClosed());
  EXPECT_EQ(WaitForRefusal(), ConnectionRelay::Refusal::kConnections);
  second.Send(kPreface);
  EXPECT_EQ(second.Receive(sizeof(kPreface) - 1), kPreface);
}

TEST_F(ConnectionRelayTest, TheConnectionThatIsIdleForLongestMakesRoom) {
  Start({.connections = {.connections = 3}, .idle_time = absl::ZeroDuration()});
  const std::string preface = kPreface;
  const std::string headers{0, 0, 0, 1, 4, 0, 0, 0, 1};  // of a call
  Peer busy(address_);
  busy.Send(preface + headers);
  EXPECT_EQ(busy.Receive(preface.size() + headers.size()), preface + headers);
  Peer idle(address_);
  idle.Send(preface);
  EXPECT_EQ(idle.Receive(preface.size()), preface);
  Peer last(address_);
  WaitForConnections(3);

  Peer newcomer(address_);
  EXPECT_TRUE(idle.IsClosed());
  newcomer.Send(preface);
  EXPECT_EQ(newcomer.Receive(preface.size()), preface);
  EXPECT_EQ(WaitForRefusal(), ConnectionRelay::Refusal::kConnections);
  last.Send(preface);
  EXPECT_EQ(last.Receive(preface.size()), preface);
  busy.Send(headers);
  EXPECT_EQ(busy.Receive(headers.size()), headers);
}

TEST_F(ConnectionRelayTest, OnlyTheSameAddressMakesRoomWhereThatIsFull) {
  Start({.connections = {.connections_per_address = 1}, .idle_time = absl::ZeroDuration()});
  Peer first(address_);
  WaitForConnections(1);
  Peer second(address_);
  EXPECT_TRUE(first.IsClosed());
  second.Send(kPreface);
  EXPECT_EQ(second.Receive(sizeof(kPreface) - 1), kPreface);
}

TEST_F(ConnectionRelayTest, AClientThatReadsNothingLosesItsConnection) {
  Start({.unread_time = absl::Milliseconds(300)});
  Peer peer(address_);
  WaitForConnections(1);
  std::thread sending([&] {
    peer.Send(kPreface);
    const std::string frame = DataFrame(std::string(16'000, 'x'));
    for (int i = 0; i < 10'000; ++i) peer.Send(frame);  // more than all buffers hold
  });
  WaitForConnections(0);
  sending.join();
}

// A probe is a new connection, and finds a place whatever holds the others.
TEST_F(ConnectionRelayTest, WhileMemoryIsShortTheLatestConnectionsOfAnAddressAreKept) {
  resident_ = 950;
  Start({.short_memory_time = absl::Hours(1)});
  const std::string preface = kPreface;
  std::list<Peer> peers;
  for (int i = 0; i < 10; ++i) {
    peers.emplace_back(address_).Send(preface);
    EXPECT_EQ(peers.back().Receive(preface.size()), preface) << i;
  }
  for (int i = 0; i < 6; ++i) {
    EXPECT_TRUE(peers.front().IsClosed()) << i;
    peers.pop_front();
  }
  WaitForConnections(4);
}

TEST_F(ConnectionRelayTest, ASilentConnectionIsClosedSoonWhileMemoryIsShort) {
  resident_ = 950;
  Start({.short_memory_time = absl::Milliseconds(1)});
  for (int i = 0; i < 3; ++i) {
    Peer peer(address_);
    peer.Send(kPreface);
    while (!peer.Receive(1).empty()) continue;
    WaitForConnections(0);  // the next one finds a place
  }
}

TEST_F(ConnectionRelayTest, ACertificateThatIsNoneIsRefused) {
  auto sockets = *ListeningSockets::Open(*ParseListenAddress("127.0.0.1:0"));
  const auto relay = ConnectionRelay::Start(
      std::move(sockets),
      {.tls = {.certificate = "no PEM", .key = "none", .client_ca = {}}, .memory = &memory_});
  EXPECT_TRUE(absl::IsInvalidArgument(relay.status()));
  EXPECT_THAT(std::string(relay.status().message()), testing::HasSubstr("--tls-cert"));
}

}  // namespace
}  // namespace denoise
