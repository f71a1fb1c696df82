// The order of the queue, as pure functions: which request places its next item in which loop, and
// which items of a loop share its next network call. The same inputs give the same decision. Time
// is an argument; there are no threads and no tensors, so simulated traces can test every rule.
//
// Flows (fair_share.h) come first: the next item to be placed is one of the flow that holds the
// fewest rows for its share, and the next item to run is one of the flow that has had the least
// time for its share.
//
// Within a flow, what is due first runs first. A request is due at its deadline, or
// Options::slowdown times the time that it would take alone after its arrival, whichever comes
// first. If any order keeps every request within that slowdown, this one does (Bender, Chakrabarti
// and Muthukrishnan, "Flow and stretch metrics for scheduling continuous job streams", SODA 1998):
// a short request overtakes a long one that has waited for less than that, and nothing is overtaken
// for longer. Rotation among all of them, by contrast, delays the long ones without bound as a
// device fills up, and arrival order delays the short ones by the long ones.
//
// Two exceptions keep that order from showing. The first evaluation of a request goes before
// everything else of its flow, so that its first frame comes at once; but not in two turns that
// follow each other, or requests of one step could hold up all others. And an item is due at the
// latest Options::patience after its last turn, so that no image pauses for longer. Items due at the
// same time, as those of one request, take turns: where all are of one kind, one of r rows waits at
// most 1 + (rows - r) / (cap - r + 1) calls, rounded down.
//
// Requests that wait for room are placed in order of their deadlines; one without a deadline, or
// with a distant one, counts as if it were due Options::patience after its last placement. So they
// rotate, and a request of many images does not hold up one of few.
//
// A loop has room for `max_active_rows`. Other flows' rows count up to their share only
// (TakenFrom), so that a flow which finds a loop full of others' rows begins at once. At most
// four times that many rows are in a loop. One request takes at most half of the room of a loop,
// unless that is less than a batch: images of a request end together, and would keep out all others
// until then.
//
// An item that fits no loop does not block the requests behind it. Each time they have overtaken it
// by another `max_active_rows` rows, one more loop, the one with the most room, takes nothing from
// behind it until the item fits. So it is overtaken by at most as many rows as all loops hold.
//
// A bound of one loop's rows would need all loops to close at once, and every device would run with
// fewer rows for the sake of one item. One closed loop alone gives no bound: its own items may be
// long while short ones pass through the others.
//
// The first item of a turn decides its kind (its model, its size, and what it does next); the turn
// takes as many items of that kind as the row cap admits, in the order above, and skips those that
// do not fit. Encoding and decoding of pictures take one item a turn, because their time grows with
// every picture, and two such turns of a flow never follow each other while the flow has anything
// else to run.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "absl/time/time.h"
#include "server/scheduling/work.h"

namespace denoise {

// A request with items that no loop has yet.
struct WaitingWork {
  uint64_t id = 0;
  int rows = 1;                                  // that an item takes of a loop
  int row_size = 1;                              // LoopItem's
  size_t flow = 0;                               // an index of the flows that Place is given
  uint64_t settings = 0;                         // WorkDemand's
  absl::Time waiting_since;                      // its last placement; its arrival before the first
  absl::Time deadline = absl::InfiniteFuture();  // not placed from then on
  // Arrivals and placements are numbered together, from 1. The lowest number has waited longest.
  uint64_t last_event = 0;
  int overtaken_by_rows = 0;  // rows placed ahead of it since its last placement, for lack of room
};

// A worker's loop.
struct LoopLoad {
  std::vector<double> rows;                   // that each flow's items take, by its index
  std::map<uint64_t, int> rows_of_work = {};  // the same rows, by request
  int tasks = 0;                              // that share its device
  // What holds for all of its items, with Batching::kRequest and kNone.
  uint64_t work = 0;
  uint64_t settings = 0;
  bool has_begun = false;  // since it was empty

  int TotalRows() const;
};

struct ItemPlacement {
  size_t work;  // indexes of what Place was given
  size_t loop;
  std::vector<size_t> overtaken;  // requests that came first, but cannot be placed now
};

// A flow in a loop.
struct FlowInLoop {
  double share = 1;
  double virtual_time = 0;  // FairAccount's
};

// An item of a loop.
struct LoopItem {
  BatchKey key;
  int rows;          // of its next evaluation
  int row_size = 1;  // a call takes as many fewer rows as these are larger
  int rows_max = std::numeric_limits<int>::max();  // of a call of this kind, for other reasons
  bool alone = false;                              // it shares its turn with no other
  size_t flow = 0;                                 // an index of the flows that it is given with
  bool yields = false;                             // it goes after all others of its flow,
  bool opens = false;                       // or before them: its request has had no evaluation yet
  absl::Time waiting_since;                 // its last turn; its placement before the first
  absl::Time due = absl::InfiniteFuture();  // its request's, see QueuePolicy::DueTime
};

class QueuePolicy {
 public:
  struct Options {
    Batching batching = Batching::kEvaluation;
    int max_batch_rows = 16;   // of one network call
    int max_active_rows = 64;  // of a loop; no item takes more
    absl::Duration patience = absl::Seconds(30);
    double slowdown = 5;
  };

  explicit QueuePolicy(const Options& options) : options_(options) {}

  // When a request is due that arrives now and would take `alone` if there were no other.
  absl::Time DueTime(absl::Time arrival, absl::Duration alone, absl::Time deadline) const {
    return std::min(arrival + options_.slowdown * alone, deadline);
  }

  // The order in which `waiting` would place its next items, given room: indexes, without those
  // whose deadline has passed. `shares` are the flows', `held` the rows that each has in loops.
  std::vector<size_t> Order(std::span<const WaitingWork> waiting, std::span<const double> shares,
                            std::vector<double> held, absl::Time now) const;

  // Which request places an item next, and where; nullopt where nothing may be placed now. Loops
  // with the fewest rows are preferred, and among those the ones that the fewest tasks share.
  std::optional<ItemPlacement> Place(std::span<const WaitingWork> waiting,
                                     std::span<const double> shares,
                                     std::span<const LoopLoad> loops, absl::Time now) const;

  // The items of the next turn: ascending indexes of `items`, which are in order of their last
  // turn, the longest ago first. `seconds_per_row` is about what a row of a turn takes.
  std::vector<size_t> ChooseBatch(std::span<const LoopItem> items,
                                  std::span<const FlowInLoop> flows, double seconds_per_row) const;

 private:
  bool Takes(const LoopLoad& loop, const WaitingWork& work, std::span<const double> shares) const;
  bool HasItsHalf(const LoopLoad& loop, const WaitingWork& work) const;

  const Options options_;
};

}  // namespace denoise
