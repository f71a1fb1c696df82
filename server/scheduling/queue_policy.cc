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

// Fills the `count` loops with the most room, for everyone who looks later.
void Close(int count, int max_rows, std::vector<LoopLoad>& loops) {
  for (int i = 0; i < count; ++i) loops[Roomiest(loops)].rows = max_rows;
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
  const int loop_rows = options_.max_active_rows;
  const int overtaken_max = static_cast<int>(loops.size()) * loop_rows;
  std::vector<LoopLoad> open(loops.begin(), loops.end());
  std::vector<size_t> overtaken;
  int rows_max = loop_rows;  // that may still overtake
  for (const size_t i : Order(waiting, now)) {
    const WaitingWork& work = waiting[i];
    const size_t loop = Roomiest(open);
    if (work.rows <= rows_max && open[loop].rows + work.rows <= loop_rows) {
      return Placement{.work = i, .loop = loop, .overtaken = std::move(overtaken)};
    }
    overtaken.push_back(i);
    rows_max = std::min(rows_max, overtaken_max - work.overtaken_by_rows);
    Close(work.overtaken_by_rows / loop_rows, loop_rows, open);
  }
  return std::nullopt;
}

std::vector<size_t> QueuePolicy::ChooseBatch(std::span<const LoopItem> items) const {
  std::vector<size_t> chosen;
  int rows = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    if (items[i].key != items.front().key) continue;
    const int rows_max = std::max(options_.max_batch_rows / items[i].row_size, items.front().rows);
    if (rows + items[i].rows > rows_max) continue;
    if (items[i].key.stage == Stage::kDecode && !chosen.empty()) break;
    rows += items[i].rows;
    chosen.push_back(i);
  }
  return chosen;
}

}  // namespace denoise
