#include "server/scheduling/estimates.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <queue>
#include <utility>

namespace denoise {
namespace {

// Items that a call of EstimateWaits may begin.
constexpr int kMaxBegun = 4096;

// Rows in progress that share the devices equally.
class FluidLoop {
 public:
  explicit FluidLoop(int devices) : devices_(devices) {}

  void Begin(const RunningItem& item) {
    rows_ += item.rows;
    // What an item is served, per row, moves at the same speed for all.
    ends_.push({served_ + absl::ToDoubleSeconds(item.cost) / item.rows, item.rows});
  }

  // Runs until the next item is done.
  void FinishOne() {
    const auto [end, rows] = ends_.top();
    ends_.pop();
    seconds_ += std::max(0.0, end - served_) * rows_ / devices_;
    served_ = std::max(served_, end);
    rows_ -= rows;
  }

  int rows() const { return rows_; }
  absl::Duration elapsed() const { return absl::Seconds(seconds_); }

 private:
  using End = std::pair<double, int>;  // of served_, and rows

  const int devices_;
  std::priority_queue<End, std::vector<End>, std::greater<>> ends_;
  int rows_ = 0;
  double served_ = 0;   // seconds of a device that each row has had
  double seconds_ = 0;  // that have passed
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
  return total / devices;
}

std::vector<std::optional<absl::Duration>> EstimateWaits(std::span<const RunningItem> running,
                                                         std::span<const QueuedWork> queue,
                                                         int rows_max, int devices) {
  FluidLoop loop(devices);
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
    loop.Begin({.rows = queue[request].rows, .cost = queue[request].cost});
    if (items > 1) next.emplace_back(request, items - 1);
  }
  return waits;
}

}  // namespace denoise
