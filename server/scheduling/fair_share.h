// Fair shares of whatever requests compete for: a device's time, room in a loop, places in the
// queue. Pure bookkeeping over numbers; not thread-safe.
//
// The requests of one tenant and one priority form a flow. Tenants share by their weights, and the
// flows of a tenant share its part by the weights of their priorities. Flows that are absent leave
// their part to the others, so nothing is ever reserved and left unused.
#pragma once

#include <compare>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace denoise {

enum class Priority { kBatch, kNormal, kInteractive };

// 1, 4 and 16.
double WeightOf(Priority priority);

struct Flow {
  std::string tenant;
  Priority priority = Priority::kNormal;

  auto operator<=>(const Flow&) const = default;
};

// By tenant; a tenant that is not listed has weight 1.
using TenantWeights = std::map<std::string, double, std::less<>>;

// The share of each of `present`, in their order; together 1.
std::vector<double> Shares(std::span<const Flow> present, const TenantWeights& weights);

// How much of a room of `capacity` is taken as one flow sees it. `held` is what each flow holds,
// `shares` their shares. What a flow holds itself counts in full; what each other flow holds counts
// up to that flow's share of the room. So a flow that finds the room full of others' work still
// gets its share at once.
double TakenFrom(size_t flow, std::span<const double> held, std::span<const double> shares,
                 double capacity);

// How much of one device's time each flow has had, for start-time fair queueing (Goyal et al.
// 1996): the flow with the least virtual time runs next, and running moves its virtual time forward
// by seconds / share. A flow that wants less than its share saves nothing up: what it runs next
// begins no earlier than the last row of the turn before did, unless it was left out of that. One
// that leaves after having had more than its share, and comes back, still has had it.
class FairAccount {
 public:
  struct Use {
    Flow flow;
    double share = 1;
    int rows = 0;           // that it has had in a turn
    absl::Duration time;    // of these
    bool left_out = false;  // had more to run
  };

  // The virtual time of `flow`, in seconds.
  double VirtualTimeOf(const Flow& flow) const;

  // A turn is over. `uses` holds every flow that is present.
  void Charge(std::span<const Use> uses);

 private:
  std::map<Flow, double> times_;  // of flows ahead of `now_`, or present
  double now_ = 0;                // where a flow begins
};

}  // namespace denoise
