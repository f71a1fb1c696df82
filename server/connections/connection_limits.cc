#include "server/connections/connection_limits.h"

#include <arpa/inet.h>

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

constexpr size_t kMaxIdleAddresses = 4096;

}  // namespace

struct ConnectionLimits::Slot::Counts {
  int all = 0;
  std::unordered_map<std::string, int> by_address;
};

ConnectionLimits::Slot::Slot(std::shared_ptr<Counts> counts, std::string address)
    : counts_(std::move(counts)), address_(std::move(address)) {
  ++counts_->all;
  ++counts_->by_address[address_];
}

ConnectionLimits::Slot::~Slot() {
  --counts_->all;
  if (const auto found = counts_->by_address.find(address_); --found->second == 0)
    counts_->by_address.erase(found);
}

ConnectionLimits::ConnectionLimits(const Limits& limits)
    : limits_(limits), counts_(std::make_shared<Slot::Counts>()) {}

absl::StatusOr<std::unique_ptr<ConnectionLimits::Slot>> ConnectionLimits::Admit(
    const std::string& address, absl::Time now) {
  if (arrivals_.size() >= kMaxIdleAddresses) ForgetIdleAddresses(now);
  auto& arrivals = arrivals_.try_emplace(address, limits_.new_per_address, now).first->second;
  if (!arrivals.Take(now)) {
    return absl::ResourceExhaustedError(absl::StrCat("more than ",
                                                     limits_.new_per_address.per_second,
                                                     " new connections a second from ", address));
  }
  if (counts_->all >= limits_.connections) {
    return absl::ResourceExhaustedError(
        absl::StrCat("there are ", counts_->all, " connections, the maximum (--max-connections)"));
  }
  if (const auto found = counts_->by_address.find(address);
      found != counts_->by_address.end() && found->second >= limits_.connections_per_address) {
    return absl::ResourceExhaustedError(
        absl::StrCat(address, " has ", found->second,
                     " connections, the maximum (--max-connections-per-address)"));
  }
  return std::unique_ptr<Slot>(new Slot(counts_, address));
}

int ConnectionLimits::connections() const { return counts_->all; }

void ConnectionLimits::ForgetIdleAddresses(absl::Time now) {
  std::erase_if(arrivals_, [now](const auto& entry) { return entry.second.IsFull(now); });
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
