// The order of the queue, as pure functions: which request places its next item in which loop, and
// which items of a loop share its next network call. The same inputs give the same decision. Time
// is an argument; there are no threads and no tensors, so simulated traces can test every rule.
//
// Requests of the highest priority go first. Within a priority tenants alternate, and the requests
// of a tenant place one item each in rotation, so that a large request does not hold up a small
// one. Waiting raises a priority by one every `priority_step`, up to the highest priority that
// waits: no request waits forever behind more important ones.
//
// An item that fits no loop does not block the requests behind it. Each time they have overtaken it
// by another `max_active_rows` rows, one more loop, the one with the most room, takes nothing from
// behind it until the item fits. So it is overtaken by at most as many rows as all loops hold.
//
// A bound of one loop's rows would need all loops to close at once, and every device would run with
// fewer rows for the sake of one item. One closed loop alone gives no bound: its own items may be
// long while short ones pass through the others.
//
// In a loop, each turn takes the items that have waited longest, as many of the first one's kind
// (its model, its size, and what it does next) as the row cap admits, and skips those that do not
// fit. So an item of r rows waits at most
// 1 + (rows - r) / (cap - r + 1) calls, rounded down, where the loop's items are
// of one kind: ceil(rows / cap) for items of one row. Kinds that share a loop alternate. Decoding
// takes one item a turn, because its time grows with every picture.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/time/time.h"
#include "server/scheduling/work.h"

namespace denoise {

// A request with items that no loop has yet.
struct WaitingWork {
  int rows = 1;                                  // that an item takes of a loop
  int priority = 0;                              // higher first
  absl::Time waiting_since;                      // its last placement; its arrival before the first
  absl::Time deadline = absl::InfiniteFuture();  // not placed from then on
  // Arrivals and placements are numbered together, from 1. The lowest number has waited longest.
  uint64_t last_event = 0;         // of this request
  uint64_t tenant_last_event = 0;  // its tenant's last placement; its first arrival before that
  int overtaken_by_rows = 0;  // rows placed ahead of it since its last placement, for lack of room
};

// A worker's loop.
struct LoopLoad {
  int rows = 0;   // that its items take
  int tasks = 0;  // that share its device
};

struct Placement {
  size_t work;  // indexes of what Place was given
  size_t loop;
  std::vector<size_t> overtaken;  // requests that came first, but cannot be placed now
};

// An item of a loop.
struct LoopItem {
  BatchKey key;
  int rows;          // of its next evaluation
  int row_size = 1;  // a call takes as many fewer rows as these are larger
};

class QueuePolicy {
 public:
  struct Options {
    int max_batch_rows = 16;   // of one network call
    int max_active_rows = 64;  // of a loop; no item takes more
    absl::Duration priority_step = absl::Seconds(30);
  };

  explicit QueuePolicy(const Options& options) : options_(options) {}

  // The order in which `waiting` would place its next items, given room: indexes, without those
  // whose deadline has passed.
  std::vector<size_t> Order(std::span<const WaitingWork> waiting, absl::Time now) const;

  // Which request places an item next, and where; nullopt where nothing may be placed now. Loops
  // with the fewest rows are preferred, and among those the ones that the fewest tasks share.
  std::optional<Placement> Place(std::span<const WaitingWork> waiting,
                                 std::span<const LoopLoad> loops, absl::Time now) const;

  // The items of the next turn: ascending indexes of `items`, which are in order of their last
  // turn, the longest ago first. The first item decides the kind.
  std::vector<size_t> ChooseBatch(std::span<const LoopItem> items) const;

 private:
  const Options options_;
};

}  // namespace denoise
