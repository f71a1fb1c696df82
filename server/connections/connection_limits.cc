#include "server/connections/connection_limits.h"

#include <arpa/inet.h>

#include <cstring>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

constexpr size_t kMaxIdleAddresses = 4096;

}  // namespace

struct ConnectionLimits::Slot::Address {
  int connections = 0;
  TokenBucket arrivals;
  Http2Guard::AddressBudget budget;
};

struct ConnectionLimits::Slot::Counts {
  int all = 0;
  std::unordered_map<std::string, Address> addresses;  // with connections, or a past that counts
};

ConnectionLimits::Slot::Slot(std::shared_ptr<Counts> counts, Address* address)
    : counts_(std::move(counts)), address_(address) {
  ++counts_->all;
  ++address_->connections;
}

ConnectionLimits::Slot::~Slot() {
  --counts_->all;
  --address_->connections;
}

Http2Guard::AddressBudget& ConnectionLimits::Slot::budget() { return address_->budget; }

ConnectionLimits::ConnectionLimits(const Limits& limits)
    : limits_(limits), counts_(std::make_shared<Slot::Counts>()) {}

absl::StatusOr<std::unique_ptr<ConnectionLimits::Slot>> ConnectionLimits::Admit(
    const std::string& address, absl::Time now, const MakeRoom& make_room) {
  if (counts_->addresses.size() >= kMaxIdleAddresses) ForgetIdleAddresses(now);
  Slot::Address& known =
      counts_->addresses
          .try_emplace(address, Slot::Address{.arrivals = {limits_.new_per_address, now},
                                              .budget = {limits_.http2_per_address, now}})
          .first->second;
  if (!known.arrivals.Take(now)) {
    return absl::ResourceExhaustedError(
        absl::StrCat("more than ", limits_.new_per_address.per_second,
                     " new connections a second from ", address, " (--max-connection-rate)"));
  }
  const auto is_full = [&](int connections, int max, const std::optional<std::string>& of) {
    return connections >= max && !(make_room && make_room(of));
  };
  if (is_full(known.connections, limits_.connections_per_address, address)) {
    return absl::ResourceExhaustedError(
        absl::StrCat(address, " has ", known.connections,
                     " connections, the maximum (--max-connections-per-address)"));
  }
  if (is_full(counts_->all, limits_.connections, std::nullopt)) {
    return absl::ResourceExhaustedError(
        absl::StrCat("there are ", counts_->all, " connections, the maximum (--max-connections)"));
  }
  return std::unique_ptr<Slot>(new Slot(counts_, &known));
}

int ConnectionLimits::connections() const { return counts_->all; }

void ConnectionLimits::ForgetIdleAddresses(absl::Time now) {
  std::erase_if(counts_->addresses, [now](const auto& entry) {
    const Slot::Address& address = entry.second;
    return address.connections == 0 && address.arrivals.IsFull(now) && address.budget.IsFull(now);
  });
}

std::string AddressKey(const std::string& address) {
  if (address.empty()) return "unix";
  in6_addr ipv6;
  if (inet_pton(AF_INET6, address.c_str(), &ipv6) != 1) return address;
  char text[INET6_ADDRSTRLEN];
  if (IN6_IS_ADDR_V4MAPPED(&ipv6)) return inet_ntop(AF_INET, &ipv6.s6_addr[12], text, sizeof(text));
  std::memset(&ipv6.s6_addr[8], 0, 8);
  return absl::StrCat(inet_ntop(AF_INET6, &ipv6, text, sizeof(text)), "/64");
}

}  // namespace denoise
