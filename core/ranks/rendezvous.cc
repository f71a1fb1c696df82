#include "core/ranks/rendezvous.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "core/base/file_descriptor.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "core/ranks/c10d_errors.h"

namespace denoise {
namespace {

// How often somebody who waits looks at the store, and whether to give up.
constexpr absl::Duration kPollInterval = absl::Milliseconds(50);
constexpr std::chrono::seconds kConnectTimeout(2), kAnswerTimeout(10);

// Keys. "version" is the leader's, "round" the latest round; "7/open", "7/joined", "7/leader",
// "7/group_size", "7/timeout" and "7/group/..." are those of round 7.
constexpr char kVersion[] = "version", kRound[] = "round";
constexpr char kOpen[] = "open", kJoined[] = "joined", kLeader[] = "leader",
               kGroupSize[] = "group_size", kTimeout[] = "timeout", kGroup[] = "group";

std::string Key(int64_t round, const char* name) { return absl::StrCat(round, "/", name); }

std::vector<uint8_t> Bytes(const std::string& text) { return {text.begin(), text.end()}; }
std::string Text(const std::vector<uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }

std::vector<uint8_t> Bytes(int64_t number) { return Bytes(absl::StrCat(number)); }

int64_t Number(const std::vector<uint8_t>& bytes) {
  int64_t number = 0;
  (void)absl::SimpleAtoi(Text(bytes), &number);
  return number;
}

// Whether `key` is there, after a moment if need be. (To wait for it with a timeout, as the store
// can, writes a warning to the log every time.)
bool Appears(c10d::Store& store, const std::string& key) {
  if (store.check({key})) return true;
  absl::SleepFor(kPollInterval);
  return store.check({key});
}

struct HostAndPort {
  std::string host;
  int port;
};

absl::StatusOr<HostAndPort> Split(const std::string& address) {
  const size_t colon = address.rfind(':');
  int port = 0;
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(address.substr(colon + 1), &port) || port < 0 || port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat(Quoted(address), " is not an address of the form HOST:PORT"));
  }
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  return HostAndPort{std::move(host), port};
}

using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

absl::StatusOr<Addresses> Resolve(const HostAndPort& address, int type) {
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = type;
  addrinfo* found = nullptr;
  const int error =
      getaddrinfo(address.host.c_str(), absl::StrCat(address.port).c_str(), &hints, &found);
  if (error != 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot resolve ", Quoted(address.host), ": ", gai_strerror(error)));
  }
  return Addresses(found, &freeaddrinfo);
}

absl::StatusOr<FileDescriptor> ListeningSocket(const HostAndPort& address) {
  ASSIGN_OR_RETURN(const Addresses addresses, Resolve(address, SOCK_STREAM));
  FileDescriptor listener(
      socket(addresses->ai_family, SOCK_STREAM | SOCK_CLOEXEC, addresses->ai_protocol));
  const int on = 1;
  setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (listener.get() < 0 || bind(listener.get(), addresses->ai_addr, addresses->ai_addrlen) != 0 ||
      listen(listener.get(), SOMAXCONN) != 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", address.host, ":", address.port, ": ", strerror(errno)));
  }
  return listener;
}

int PortOf(const sockaddr_storage& address) {
  return ntohs(address.ss_family == AF_INET6
                   ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                   : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

int LocalPort(int socket) {
  sockaddr_storage address = {};
  socklen_t size = sizeof(address);
  getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size);
  return PortOf(address);
}

absl::StatusOr<std::string> Numeric(const sockaddr* address, socklen_t size) {
  char host[NI_MAXHOST];
  const int error = getnameinfo(address, size, host, sizeof(host), nullptr, 0, NI_NUMERICHOST);
  if (error != 0) return absl::UnavailableError(gai_strerror(error));
  return std::string(host);
}

// The addresses of this machine and of `leader`, as one reaches the other. Nothing is sent.
struct Route {
  std::string from, to;
};
absl::StatusOr<Route> RouteTo(const HostAndPort& leader) {
  ASSIGN_OR_RETURN(const Addresses addresses, Resolve(leader, SOCK_DGRAM));
  const FileDescriptor probe(
      socket(addresses->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, addresses->ai_protocol));
  sockaddr_storage local = {};
  socklen_t size = sizeof(local);
  if (probe.get() < 0 || connect(probe.get(), addresses->ai_addr, addresses->ai_addrlen) != 0 ||
      getsockname(probe.get(), reinterpret_cast<sockaddr*>(&local), &size) != 0) {
    return absl::UnavailableError(
        absl::StrCat("no route to ", Quoted(leader.host), ": ", strerror(errno)));
  }
  Route route;
  ASSIGN_OR_RETURN(route.from, Numeric(reinterpret_cast<const sockaddr*>(&local), size));
  ASSIGN_OR_RETURN(route.to, Numeric(addresses->ai_addr, addresses->ai_addrlen));
  return route;
}

// Whether `host` is an address of this machine, not one that is translated on the way to it.
bool IsOwn(const std::string& host) { return ListeningSocket({host, 0}).ok(); }

std::string OwnName() {
  char name[NI_MAXHOST] = "localhost";
  gethostname(name, sizeof(name) - 1);
  return name;
}

bool IsAnyAddress(const std::string& host) { return host == "0.0.0.0" || host == "::"; }

absl::Status Gone(const std::exception& error) {
  return absl::UnavailableError(absl::StrCat("the leader has gone: ", OneLine(error)));
}

absl::Status GatheringCancelled() {
  return absl::CancelledError("the gathering of ranks was cancelled");
}

// The keys of a group are its own, and so is its connection: waiting for one blocks a connection.
c10::intrusive_ptr<c10d::Store> StoreOf(int64_t round, c10d::Store& store) {
  return c10::make_intrusive<c10d::PrefixStore>(Key(round, kGroup), store.clone());
}

}  // namespace

absl::StatusOr<std::unique_ptr<Rendezvous>> Rendezvous::Listen(const std::string& address,
                                                               const std::string& version) {
  ASSIGN_OR_RETURN(const HostAndPort parsed, Split(address));
  ASSIGN_OR_RETURN(FileDescriptor listener, ListeningSocket(parsed));
  const int port = LocalPort(listener.get());
  const std::string host = IsAnyAddress(parsed.host) ? "" : parsed.host;
  try {
    c10d::TCPStoreOptions options;
    options.port = static_cast<uint16_t>(port);
    options.isServer = true;
    options.waitWorkers = false;
    options.timeout = kAnswerTimeout;
    options.masterListenFd = listener.Release();
    auto store = c10::make_intrusive<c10d::TCPStore>(host.empty() ? "localhost" : host, options);
    store->set(kVersion, Bytes(version));
    return std::unique_ptr<Rendezvous>(new Rendezvous(std::move(store), host, port));
  } catch (const std::exception& error) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", address, ": ", OneLine(error)));
  }
}

Rendezvous::Rendezvous(c10::intrusive_ptr<c10d::Store> store, std::string host, int port)
    : host_(std::move(host)), port_(port), store_(std::move(store)) {}

Rendezvous::~Rendezvous() = default;

absl::StatusOr<std::unique_ptr<RankGroup>> Rendezvous::Gather(
    const Wanted& wanted, const Stopped& stopped,
    const std::function<void(const absl::Status&)>& on_lost_round) {
  while (gathering_.exchange(true)) {
    if (stopped()) return GatheringCancelled();
    absl::SleepFor(kPollInterval);
  }
  const auto done = absl::MakeCleanup([this] { gathering_ = false; });
  while (true) {
    auto group = GatherOnce(++round_, wanted, stopped);
    if (group.ok() || absl::IsCancelled(group.status())) return group;
    if (on_lost_round) on_lost_round(group.status());
    if (stopped()) return GatheringCancelled();
    absl::SleepFor(kPollInterval);
  }
}

absl::StatusOr<std::unique_ptr<RankGroup>> Rendezvous::GatherOnce(int64_t round,
                                                                  const Wanted& wanted,
                                                                  const Stopped& stopped) {
  try {
    store_->set(kRound, Bytes(round));
    store_->set(Key(round, kOpen), Bytes(1));
    const absl::StatusOr<int> size = WaitForMembers(round, wanted, stopped);
    store_->set(Key(round, kTimeout), Bytes(absl::ToInt64Milliseconds(wanted.timeout)));
    store_->set(Key(round, kGroupSize), Bytes(size.value_or(0)));
    for (const char* name : {kOpen, kJoined, kLeader, kGroupSize, kTimeout}) {
      store_->deleteKey(Key(round - 1, name));
    }
    RETURN_IF_ERROR(size.status());
    return RankGroup::Form(
        StoreOf(round, *store_),
        {.rank = 0, .size = *size, .address = AddressForGroup(round), .timeout = wanted.timeout});
  } catch (const std::exception& error) {
    return RankLostError(OneLine(error));
  }
}

// How many there are, with the leader.
absl::StatusOr<int> Rendezvous::WaitForMembers(int64_t round, const Wanted& wanted,
                                               const Stopped& stopped) {
  const absl::Time deadline = absl::Now() + wanted.wait;
  while (true) {
    const int64_t size = 1 + store_->add(Key(round, kJoined), 0);
    if (size >= wanted.ranks) return wanted.ranks;
    if (size >= wanted.at_least && absl::Now() >= deadline) return static_cast<int>(size);
    if (stopped()) return GatheringCancelled();
    absl::SleepFor(kPollInterval);
  }
}

// At which others have reached this machine. Its own name often means the loopback interface.
std::string Rendezvous::AddressForGroup(int64_t round) const {
  if (!host_.empty()) return host_;
  const std::string key = Key(round, kLeader);
  const std::string reached = store_->check({key}) ? Text(store_->get(key)) : "";
  return !reached.empty() && IsOwn(reached) ? reached : OwnName();
}

absl::StatusOr<std::unique_ptr<JoinedRank>> JoinedRank::Join(const std::string& address,
                                                             const std::string& version) {
  ASSIGN_OR_RETURN(const HostAndPort leader, Split(address));
  ASSIGN_OR_RETURN(const Route route, RouteTo(leader));
  try {
    c10d::TCPStoreOptions options;
    options.port = static_cast<uint16_t>(leader.port);
    options.waitWorkers = false;
    options.timeout = kConnectTimeout;
    auto store = c10::make_intrusive<c10d::TCPStore>(leader.host, options);
    store->setTimeout(kAnswerTimeout);
    const std::string leaders = Text(store->get(kVersion));
    if (leaders != version) {
      return absl::FailedPreconditionError(absl::StrCat("the leader is ", Quoted(leaders),
                                                        ", and this rank ", Quoted(version),
                                                        ": run the same version on all machines"));
    }
    return std::unique_ptr<JoinedRank>(new JoinedRank(std::move(store), route.from, route.to));
  } catch (const std::exception& error) {
    return absl::UnavailableError(absl::StrCat(
        "no leader answers at ", address, ", which must be its --rank-listen: ", OneLine(error)));
  }
}

JoinedRank::JoinedRank(c10::intrusive_ptr<c10d::Store> store, std::string address,
                       std::string leader)
    : store_(std::move(store)),
      other_store_(store_->clone()),
      address_(std::move(address)),
      leader_(std::move(leader)) {}

bool JoinedRank::LeaderAnswers() {
  try {
    return other_store_->check({kVersion});
  } catch (const std::exception&) {
    return false;
  }
}

JoinedRank::~JoinedRank() = default;

absl::StatusOr<std::unique_ptr<RankGroup>> JoinedRank::NextGroup(const Stopped& stopped) {
  while (!stopped()) {
    std::optional<RankGroup::Options> options;
    c10::intrusive_ptr<c10d::Store> group_store;
    try {
      options = Claim(stopped);
      if (!options) continue;
      group_store = StoreOf(round_, *store_);
    } catch (const std::exception& error) {
      return Gone(error);
    }
    auto group = RankGroup::Form(group_store, *options);
    if (group.ok()) return group;
  }
  return GatheringCancelled();
}

std::optional<RankGroup::Options> JoinedRank::Claim(const Stopped& stopped) {
  const auto latest = [this] {
    return store_->check({kRound}) ? Number(store_->get(kRound)) : int64_t{0};
  };
  (void)Appears(*store_, Key(round_ + 1, kOpen));  // rounds may have been missed, too
  if (latest() <= round_) return std::nullopt;
  round_ = latest();
  RankGroup::Options options{.address = address_};
  store_->set(Key(round_, kLeader), Bytes(leader_));
  options.rank = static_cast<int>(store_->add(Key(round_, kJoined), 1));
  while (!Appears(*store_, Key(round_, kGroupSize))) {
    if (stopped() || latest() > round_) return std::nullopt;
  }
  options.size = static_cast<int>(Number(store_->get(Key(round_, kGroupSize))));
  options.timeout = absl::Milliseconds(Number(store_->get(Key(round_, kTimeout))));
  if (options.rank >= options.size) return std::nullopt;
  return options;
}

}  // namespace denoise
