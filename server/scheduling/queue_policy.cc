#include "server/scheduling/queue_policy.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace denoise {
namespace {

// The base priority plus one for every `step` waited.
int64_t AgedPriority(const WaitingWork& work, absl::Time now, absl::Duration step) {
  absl::Duration remainder;
  const int64_t steps = absl::IDivDuration(now - work.waiting_since, step, &remainder);
  return work.priority + std::clamp<int64_t>(steps, 0, int64_t{1} << 33);
}

size_t Roomiest(std::span<const LoopLoad> loops) {
  const auto least =
      std::min_element(loops.begin(), loops.end(), [](const LoopLoad& a, const LoopLoad& b) {
        return std::pair(a.rows, a.tasks) < std::pair(b.rows, b.tasks);
      });
  return least - loops.begin();
}

}  // namespace

std::vector<size_t> QueuePolicy::Order(std::span<const WaitingWork> waiting, absl::Time now) const {
  std::vector<size_t> order;
  int64_t highest = 0;
  for (size_t i = 0; i < waiting.size(); ++i) {
    if (waiting[i].deadline <= now) continue;
    highest = order.empty() ? waiting[i].priority : std::max<int64_t>(highest, waiting[i].priority);
    order.push_back(i);
  }
  const auto key = [&](size_t i) {
    const int64_t priority =
        std::min(highest, AgedPriority(waiting[i], now, options_.priority_step));
    return std::tuple(-priority, waiting[i].tenant_last_event, waiting[i].last_event);
  };
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return key(a) < key(b); });
  return order;
}

std::optional<Placement> QueuePolicy::Place(std::span<const WaitingWork> waiting,
                                            std::span<const LoopLoad> loops, absl::Time now) const {
  std::vector<LoopLoad> open(loops.begin(), loops.end());
  std::vector<size_t> overtaken;
  bool reserved = false;
  for (const size_t i : Order(waiting, now)) {
    const size_t loop = Roomiest(open);
    if (open[loop].rows + waiting[i].rows <= options_.max_active_rows) {
      return Placement{.work = i, .loop = loop, .overtaken = std::move(overtaken)};
    }
    overtaken.push_back(i);
    if (reserved || waiting[i].overtaken_by_rows < options_.max_active_rows) continue;
    reserved = true;
    open[loop].rows = options_.max_active_rows;  // full, for everyone behind it
  }
  return std::nullopt;
}

std::vector<size_t> QueuePolicy::ChooseBatch(std::span<const LoopItem> items) const {
  std::vector<size_t> chosen;
  int rows = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    if (items[i].network != items.front().network) continue;
    if (rows + items[i].rows > options_.max_batch_rows) continue;
    rows += items[i].rows;
    chosen.push_back(i);
  }
  return chosen;
}

}  // namespace denoise
