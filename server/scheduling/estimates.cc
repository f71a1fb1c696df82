#include "server/scheduling/estimates.h"

#include <algorithm>
#include <deque>
#include <queue>
#include <utility>

namespace denoise {
namespace {

// Items that a call of EstimateWaits may begin.
constexpr int kMaxBegun = 4096;

// Items in progress, which finish as they are due.
class Loop {
 public:
  explicit Loop(int devices) : devices_(devices) {}

  void Begin(const RunningItem& item) {
    rows_ += item.rows;
    items_.push(item);
  }

  // Runs until the next item is done.
  void FinishOne() {
    elapsed_ += items_.top().cost / devices_;
    rows_ -= items_.top().rows;
    items_.pop();
  }

  int rows() const { return rows_; }
  absl::Duration elapsed() const { return elapsed_; }

 private:
  struct DueLater {
    bool operator()(const RunningItem& a, const RunningItem& b) const { return a.due > b.due; }
  };

  const int devices_;
  std::priority_queue<RunningItem, std::vector<RunningItem>, DueLater> items_;
  int rows_ = 0;
  absl::Duration elapsed_;
};

}  // namespace

absl::Duration EstimateFinish(const OutstandingWork& work, std::span<const OutstandingWork> others,
                              std::span<const double> shares, int devices) {
  absl::Duration of_flow = work.cost;
  std::vector<absl::Duration> of_others(shares.size());
  for (const OutstandingWork& other : others) {
    if (other.flow != work.flow) {
      of_others[other.flow] += other.cost;
    } else if (other.due < work.due) {
      of_flow += other.cost;
    } else if (other.due == work.due) {
      of_flow += std::min(other.cost, work.cost);
    }
  }
  absl::Duration total = of_flow;
  for (size_t flow = 0; flow < shares.size(); ++flow) {
    total += std::min(of_others[flow], of_flow * (shares[flow] / shares[work.flow]));
  }
  // Its evaluations follow each other however little of the device they take, so what is due later
  // runs beside its last ones: on average, for half of the time that it leaves unused.
  const absl::Duration unused = std::max(work.alone - work.cost / devices, absl::ZeroDuration());
  return std::max(work.alone, total / devices + unused / 2);
}

std::vector<std::optional<absl::Duration>> EstimateWaits(std::span<const RunningItem> running,
                                                         std::span<const QueuedWork> queue,
                                                         int rows_max, int devices) {
  Loop loop(devices);
  for (const RunningItem& item : running) loop.Begin(item);
  std::vector<std::optional<absl::Duration>> waits(queue.size());
  std::deque<std::pair<size_t, int>> next;  // and how many of its items have not begun
  for (size_t i = 0; i < queue.size(); ++i) next.emplace_back(i, queue[i].items);
  size_t unknown = queue.size();
  for (int begun = 0; begun < kMaxBegun && unknown > 0; ++begun) {
    const auto [request, items] = next.front();
    next.pop_front();
    while (loop.rows() > 0 && loop.rows() + queue[request].rows > rows_max) loop.FinishOne();
    if (!waits[request]) {
      waits[request] = loop.elapsed();
      --unknown;
    }
    loop.Begin(
        {.rows = queue[request].rows, .cost = queue[request].cost, .due = queue[request].due});
    if (items > 1) next.emplace_back(request, items - 1);
  }
  return waits;
}

}  // namespace denoise
