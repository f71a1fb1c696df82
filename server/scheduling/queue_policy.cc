#include "server/scheduling/queue_policy.h"

#include <algorithm>
#include <numeric>
#include <tuple>
#include <utility>

namespace denoise {
namespace {

// What all flows together may hold of a loop, in rooms.
constexpr int kMostRooms = 4;

// Takes from queues, one for each flow, always from the one whose flow has had least.
class FairMerge {
 public:
  // `queues` are indexes of whatever is merged, the next one last. `had` is what flows have had by
  // now, for their share.
  FairMerge(std::vector<std::vector<size_t>> queues, std::vector<double> had)
      : queues_(std::move(queues)), had_(std::move(had)) {}

  // The next one. nullopt when all queues are empty.
  std::optional<size_t> Take() {
    std::optional<size_t> next;
    for (size_t flow = 0; flow < queues_.size(); ++flow) {
      if (!queues_[flow].empty() && (!next || had_[flow] < had_[*next])) next = flow;
    }
    if (!next) return std::nullopt;
    const size_t taken = queues_[*next].back();
    queues_[*next].pop_back();
    return taken;
  }

  void Charge(size_t flow, double amount) { had_[flow] += amount; }

 private:
  std::vector<std::vector<size_t>> queues_;
  std::vector<double> had_;
};

// By flow, and within a flow in descending order of `key`: what comes first is last.
template <class Items, class Key>
std::vector<std::vector<size_t>> Queues(const Items& items, const std::vector<size_t>& indexes,
                                        size_t flows, const Key& key) {
  std::vector<std::vector<size_t>> queues(flows);
  for (const size_t i : indexes) queues[items[i].flow].push_back(i);
  for (auto& queue : queues) {
    std::sort(queue.begin(), queue.end(), [&](size_t a, size_t b) { return key(b) < key(a); });
  }
  return queues;
}

// The loop of those not in `closed` that takes `work` and has the fewest rows.
template <class Takes>
std::optional<size_t> Roomiest(std::span<const LoopLoad> loops, const std::vector<bool>& closed,
                               const Takes& takes) {
  std::optional<size_t> best;
  const auto load = [&](size_t i) { return std::pair(loops[i].TotalRows(), loops[i].tasks); };
  for (size_t i = 0; i < loops.size(); ++i) {
    if (!closed[i] && takes(loops[i]) && (!best || load(i) < load(*best))) best = i;
  }
  return best;
}

// Closes the `count` loops with the most room, for everyone who looks later.
void Close(int count, std::span<const LoopLoad> loops, std::vector<bool>& closed) {
  for (int i = 0; i < count; ++i) {
    const auto loop = Roomiest(loops, closed, [](const LoopLoad&) { return true; });
    if (loop) closed[*loop] = true;
  }
}

}  // namespace

int LoopLoad::TotalRows() const {
  return static_cast<int>(std::accumulate(rows.begin(), rows.end(), 0.0));
}

std::vector<size_t> QueuePolicy::Order(std::span<const WaitingWork> waiting,
                                       std::span<const double> shares, std::vector<double> held,
                                       absl::Time now) const {
  std::vector<size_t> indexes;
  for (size_t i = 0; i < waiting.size(); ++i) {
    if (waiting[i].deadline > now) indexes.push_back(i);
  }
  for (size_t flow = 0; flow < held.size(); ++flow) held[flow] /= shares[flow];
  FairMerge merge(Queues(waiting, indexes, shares.size(),
                         [&](size_t i) {
                           const WaitingWork& work = waiting[i];
                           return std::tuple(
                               std::min(work.deadline, work.waiting_since + options_.patience),
                               work.last_event);
                         }),
                  std::move(held));
  std::vector<size_t> order;
  while (const auto next = merge.Take()) {
    order.push_back(*next);
    merge.Charge(waiting[*next].flow, waiting[*next].rows / shares[waiting[*next].flow]);
  }
  return order;
}

bool QueuePolicy::HasItsHalf(const LoopLoad& loop, const WaitingWork& work) const {
  if (options_.batching != Batching::kEvaluation) return false;
  const auto held = loop.rows_of_work.find(work.id);
  if (held == loop.rows_of_work.end()) return false;
  return held->second + work.rows > std::max(options_.max_batch_rows, options_.max_active_rows / 2);
}

bool QueuePolicy::Takes(const LoopLoad& loop, const WaitingWork& work,
                        std::span<const double> shares) const {
  const int rows = loop.TotalRows();
  switch (options_.batching) {
    case Batching::kEvaluation:
      return rows + work.rows <= kMostRooms * options_.max_active_rows &&
             TakenFrom(work.flow, loop.rows, shares, options_.max_active_rows) + work.rows <=
                 options_.max_active_rows;
    case Batching::kRequest:
      return rows == 0 || (!loop.has_begun && loop.settings == work.settings &&
                           (rows + work.rows) * work.row_size <= options_.max_batch_rows);
    case Batching::kNone:
      return rows == 0 || (!loop.has_begun && loop.work == work.id &&
                           (rows + work.rows) * work.row_size <= options_.max_batch_rows);
  }
  return false;
}

std::optional<ItemPlacement> QueuePolicy::Place(std::span<const WaitingWork> waiting,
                                                std::span<const double> shares,
                                                std::span<const LoopLoad> loops,
                                                absl::Time now) const {
  std::vector<double> held(shares.size());
  for (const LoopLoad& loop : loops) {
    for (size_t flow = 0; flow < held.size(); ++flow) held[flow] += loop.rows[flow];
  }
  const int overtaken_max = static_cast<int>(loops.size()) * options_.max_active_rows;
  std::vector<bool> closed(loops.size());
  std::vector<size_t> overtaken;
  int rows_max = options_.max_active_rows;  // that may still overtake
  for (const size_t i : Order(waiting, shares, std::move(held), now)) {
    const WaitingWork& work = waiting[i];
    const auto has_its_half = [&](const LoopLoad& load) { return HasItsHalf(load, work); };
    if (std::all_of(loops.begin(), loops.end(), has_its_half)) continue;  // nobody overtakes it
    const auto loop = Roomiest(loops, closed, [&](const LoopLoad& load) {
      return !HasItsHalf(load, work) && Takes(load, work, shares);
    });
    if (loop && work.rows <= rows_max) {
      return ItemPlacement{.work = i, .loop = *loop, .overtaken = std::move(overtaken)};
    }
    overtaken.push_back(i);
    rows_max = std::min(rows_max, overtaken_max - work.overtaken_by_rows);
    Close(work.overtaken_by_rows / options_.max_active_rows, loops, closed);
  }
  return std::nullopt;
}

std::vector<size_t> QueuePolicy::ChooseBatch(std::span<const LoopItem> items,
                                             std::span<const FlowInLoop> flows,
                                             double seconds_per_row) const {
  std::vector<size_t> indexes(items.size());
  std::iota(indexes.begin(), indexes.end(), size_t{0});
  std::vector<double> had;
  for (const FlowInLoop& flow : flows) had.push_back(flow.virtual_time);
  FairMerge merge(Queues(items, indexes, flows.size(),
                         [&](size_t i) {
                           const LoopItem& item = items[i];
                           return std::tuple(
                               item.yields, !item.opens,
                               std::min(item.due, item.waiting_since + options_.patience), i);
                         }),
                  std::move(had));
  std::vector<size_t> chosen;
  const LoopItem* first = nullptr;
  int rows = 0;
  while (const auto i = merge.Take()) {
    const LoopItem& item = items[*i];
    if (first == nullptr) first = &item;
    if (item.key != first->key) continue;
    const int cap = std::min(options_.max_batch_rows / item.row_size, item.rows_max);
    if (rows + item.rows > std::max(cap, first->rows)) continue;
    if (!chosen.empty() && (item.alone || first->alone)) continue;
    rows += item.rows;
    chosen.push_back(*i);
    merge.Charge(item.flow, item.rows * seconds_per_row / flows[item.flow].share);
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

}  // namespace denoise
