// When work will begin and end, from what it and everything else costs. Pure functions.
//
// They follow the order of queue_policy.h: flows progress at once, each at its part of the device's
// speed, and the requests of a flow one after the other, as they are due.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "absl/time/time.h"

namespace denoise {

// A request that is not over.
struct OutstandingWork {
  size_t flow = 0;      // an index of the flows' shares
  absl::Duration cost;  // of what is left of it: time of one device
  // How long it takes if there is nothing else. Not read of others. More than its cost where rows
  // share evaluations.
  absl::Duration alone;
  absl::Time due;  // QueuePolicy::DueTime
};

// How long it takes from now until `work` is over, if it is submitted to `devices` devices that have
// `others` to do, and nothing else comes that is due earlier. Requests of its flow that are due
// earlier go first, and those due later wait; those due at the same time take turns. Other flows take
// their shares until they are done.
absl::Duration EstimateFinish(const OutstandingWork& work, std::span<const OutstandingWork> others,
                              std::span<const double> shares, int devices);

// An item in a loop.
struct RunningItem {
  int rows = 1;
  absl::Duration cost;  // of what is left of it
  absl::Time due;       // its request's
};

// A request in the queue, whose items take turns with those of the others to begin.
struct QueuedWork {
  int rows = 1;         // that each item takes
  int items = 1;        // not begun
  absl::Duration cost;  // of an item
  absl::Time due;
};

// How long it takes from now until the first item of each request in `queue` begins, which is in
// order: items begin as those before them leave room among `rows_max` rows. nullopt for requests
// beyond a bound of the work that this may take.
std::vector<std::optional<absl::Duration>> EstimateWaits(std::span<const RunningItem> running,
                                                         std::span<const QueuedWork> queue,
                                                         int rows_max, int devices);

}  // namespace denoise
