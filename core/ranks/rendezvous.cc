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

// How often somebody who waits looks whether to give up.
constexpr absl::Duration kLook = absl::Milliseconds(50);
constexpr absl::Duration kRetryDelay = absl::Seconds(1);

// Keys. "round" is the latest round; "7/open", "7/joined", "7/member/2", "7/size" and "7/group/..."
// are those of round 7.
constexpr char kRound[] = "round";
std::string Key(int64_t round, std::string_view name) {
  return absl::StrCat(round, "/", absl::string_view(name.data(), name.size()));
}

std::vector<uint8_t> Bytes(int64_t number) {
  const std::string text = absl::StrCat(number);
  return {text.begin(), text.end()};
}

int64_t Number(const std::vector<uint8_t>& bytes) {
  int64_t number = 0;
  (void)absl::SimpleAtoi(std::string(bytes.begin(), bytes.end()), &number);
  return number;
}

// Whether `key` is there, after a moment if need be. (To wait for it with a timeout, as the store
// can, writes a warning to the log every time.)
bool Appears(c10d::Store& store, const std::string& key) {
  if (store.check({key})) return true;
  absl::SleepFor(kLook);
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

// Of this machine, as it would reach `leader`. Nothing is sent.
absl::StatusOr<std::string> LocalAddress(const HostAndPort& leader) {
  ASSIGN_OR_RETURN(const Addresses addresses, Resolve(leader, SOCK_DGRAM));
  const FileDescriptor probe(
      socket(addresses->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, addresses->ai_protocol));
  sockaddr_storage local = {};
  socklen_t size = sizeof(local);
  char host[NI_MAXHOST];
  if (probe.get() < 0 || connect(probe.get(), addresses->ai_addr, addresses->ai_addrlen) != 0 ||
      getsockname(probe.get(), reinterpret_cast<sockaddr*>(&local), &size) != 0 ||
      getnameinfo(reinterpret_cast<const sockaddr*>(&local), size, host, sizeof(host), nullptr, 0,
                  NI_NUMERICHOST) != 0) {
    return absl::UnavailableError(
        absl::StrCat("no route to ", Quoted(leader.host), ": ", strerror(errno)));
  }
  return std::string(host);
}

std::string OwnName() {
  char name[NI_MAXHOST] = "localhost";
  gethostname(name, sizeof(name) - 1);
  return name;
}

bool IsAnyAddress(const std::string& host) { return host == "0.0.0.0" || host == "::"; }

absl::Status Gone(const std::exception& error) {
  return absl::UnavailableError(absl::StrCat("the leader has gone: ", OneLine(error)));
}

// The keys of a group are its own, and so is its connection: waiting for one blocks a connection.
c10::intrusive_ptr<c10d::Store> StoreOf(int64_t round, c10d::Store& store) {
  return c10::make_intrusive<c10d::PrefixStore>(Key(round, "group"), store.clone());
}

}  // namespace

absl::StatusOr<std::unique_ptr<Rendezvous>> Rendezvous::Listen(const std::string& address) {
  ASSIGN_OR_RETURN(const HostAndPort parsed, Split(address));
  ASSIGN_OR_RETURN(FileDescriptor listener, ListeningSocket(parsed));
  const int port = LocalPort(listener.get());
  const bool any = IsAnyAddress(parsed.host);
  try {
    c10d::TCPStoreOptions options;
    options.port = static_cast<uint16_t>(port);
    options.isServer = true;
    options.waitWorkers = false;
    options.masterListenFd = listener.Release();
    auto store = c10::make_intrusive<c10d::TCPStore>(any ? "localhost" : parsed.host, options);
    return std::unique_ptr<Rendezvous>(
        new Rendezvous(std::move(store), any ? OwnName() : parsed.host, port));
  } catch (const std::exception& error) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", address, ": ", OneLine(error)));
  }
}

Rendezvous::Rendezvous(c10::intrusive_ptr<c10d::Store> store, std::string address, int port)
    : address_(std::move(address)), port_(port), store_(std::move(store)) {}

Rendezvous::~Rendezvous() = default;

absl::StatusOr<std::unique_ptr<RankGroup>> Rendezvous::Gather(const Wanted& wanted,
                                                              const Stopped& stopped) {
  while (gathering_.exchange(true)) {
    if (stopped()) return absl::CancelledError("nobody waits for the ranks any more");
    absl::SleepFor(kLook);
  }
  const auto done = absl::MakeCleanup([this] { gathering_ = false; });
  while (true) {
    const int64_t round = ++round_;
    absl::StatusOr<int> size;
    c10::intrusive_ptr<c10d::Store> group_store;
    try {
      store_->set(kRound, Bytes(round));
      store_->set(Key(round, "open"), Bytes(1));
      size = WaitForMembers(absl::StrCat(round), wanted, stopped);
      store_->set(Key(round, "size"), Bytes(size.value_or(0)));
      for (const char* name : {"open", "joined", "size"}) store_->deleteKey(Key(round - 1, name));
      if (!size.ok()) return size.status();
      group_store = StoreOf(round, *store_);
    } catch (const std::exception& error) {
      return Gone(error);
    }
    auto group = RankGroup::Form(
        group_store, {.rank = 0, .size = *size, .address = address_, .timeout = wanted.timeout});
    if (group.ok()) return group;
    if (stopped()) return absl::CancelledError("nobody waits for the ranks any more");
  }
}

// How many there are, with the leader.
absl::StatusOr<int> Rendezvous::WaitForMembers(const std::string& round, const Wanted& wanted,
                                               const Stopped& stopped) {
  const absl::Time deadline = absl::Now() + wanted.wait;
  int size = 1;
  while (size < wanted.ranks) {
    if (Appears(*store_, absl::StrCat(round, "/member/", size))) {
      ++size;
    } else if (size >= wanted.at_least && absl::Now() >= deadline) {
      break;
    }
    if (stopped()) return absl::CancelledError("nobody waits for the ranks any more");
  }
  return size;
}

absl::StatusOr<std::unique_ptr<JoinedRank>> JoinedRank::Join(const std::string& address,
                                                             absl::Duration timeout,
                                                             const Stopped& stopped) {
  ASSIGN_OR_RETURN(const HostAndPort leader, Split(address));
  while (!stopped()) {
    const auto local = LocalAddress(leader);
    if (local.ok()) {
      try {
        c10d::TCPStoreOptions options;
        options.port = static_cast<uint16_t>(leader.port);
        options.waitWorkers = false;
        options.timeout = std::chrono::milliseconds(absl::ToInt64Milliseconds(kRetryDelay));
        auto store = c10::make_intrusive<c10d::TCPStore>(leader.host, options);
        store->setTimeout(std::chrono::milliseconds(absl::ToInt64Milliseconds(timeout)));
        return std::unique_ptr<JoinedRank>(new JoinedRank(std::move(store), *local, timeout));
      } catch (const std::exception&) {  // not there yet
      }
    }
    absl::SleepFor(kRetryDelay);
  }
  return absl::CancelledError("stopped");
}

JoinedRank::JoinedRank(c10::intrusive_ptr<c10d::Store> store, std::string address,
                       absl::Duration timeout)
    : store_(std::move(store)), address_(std::move(address)), timeout_(timeout) {}

JoinedRank::~JoinedRank() = default;

absl::StatusOr<std::unique_ptr<RankGroup>> JoinedRank::NextGroup(const Stopped& stopped) {
  while (!stopped()) {
    RankGroup::Options options{.address = address_, .timeout = timeout_};
    c10::intrusive_ptr<c10d::Store> group_store;
    try {
      (void)Appears(*store_, Key(round_ + 1, "open"));  // rounds may have been missed, too
      const int64_t latest = store_->check({kRound}) ? Number(store_->get(kRound)) : 0;
      if (latest <= round_) continue;
      round_ = latest;
      options.rank = static_cast<int>(store_->add(Key(round_, "joined"), 1));
      store_->set(Key(round_, absl::StrCat("member/", options.rank)), Bytes(1));
      while (!Appears(*store_, Key(round_, "size"))) {
        if (stopped()) return absl::CancelledError("stopped");
      }
      options.size = static_cast<int>(Number(store_->get(Key(round_, "size"))));
      if (options.rank >= options.size) continue;  // there is no place
      group_store = StoreOf(round_, *store_);
    } catch (const std::exception& error) {
      return Gone(error);
    }
    auto group = RankGroup::Form(group_store, options);
    if (group.ok()) return group;
  }
  return absl::CancelledError("stopped");
}

}  // namespace denoise
