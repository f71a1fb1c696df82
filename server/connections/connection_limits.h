// How many connections there may be, in all and from one address, how quickly new ones may come,
// and what those of one address may do together.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/connections/http2_guard.h"
#include "server/connections/token_bucket.h"

namespace denoise {

// Not thread-safe.
class ConnectionLimits {
 public:
  struct Limits {
    int connections = 1024;
    int connections_per_address = 256;
    TokenBucket::Rate new_per_address = {.burst = 512, .per_second = 64};
    Http2Guard::AddressLimits http2_per_address = {};
  };

  // A place that a connection takes as long as it lives. May outlive the limits.
  class Slot {
   public:
    ~Slot();
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;

    // Of its address; lives as long as the slot.
    Http2Guard::AddressBudget& budget();

   private:
    friend class ConnectionLimits;
    struct Address;
    struct Counts;
    Slot(std::shared_ptr<Counts> counts, Address* address);
    const std::shared_ptr<Counts> counts_;
    Address* const address_;
  };

  explicit ConnectionLimits(const Limits& limits);

  // Ends a connection of `address`, or of any if that is nullopt, and destroys its slot. False if
  // there is none that can be ended.
  using MakeRoom = std::function<bool(const std::optional<std::string>& address)>;

  // A place for a connection from `address`, as AddressKey makes it. `make_room`, which may be
  // null, is called where all places are taken. ResourceExhausted says which limit is reached.
  absl::StatusOr<std::unique_ptr<Slot>> Admit(const std::string& address, absl::Time now,
                                              const MakeRoom& make_room = nullptr);

  int connections() const;

 private:
  void ForgetIdleAddresses(absl::Time now);

  const Limits limits_;
  const std::shared_ptr<Slot::Counts> counts_;
};

// What the limits take for one caller: an IPv4 address, the /64 prefix of an IPv6 address (which is
// what one host gets), or "unix". `address` as inet_ntop writes it; "" for a unix socket.
std::string AddressKey(const std::string& address);

}  // namespace denoise
