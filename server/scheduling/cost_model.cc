#include "server/scheduling/cost_model.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace denoise {
namespace {

// Samples whose plain mean is taken; from then on each new one has this weight.
constexpr int kAveraged = 8;
constexpr size_t kMaxEntries = 1000;

double Throughput(int rows, const MeasuredTime& time) {
  return rows / absl::ToDoubleSeconds(time.typical());
}

BatchKey KeyOf(const std::shared_ptr<const void>& network, int64_t height, int64_t width) {
  return {.network = network.get(), .height = height, .width = width};
}

}  // namespace

// The clock may be set back meanwhile.
void MeasuredTime::Record(absl::Duration time) {
  if (time <= absl::ZeroDuration()) return;
  if (std::exchange(assumed_, false)) typical_ = absl::ZeroDuration();
  samples_ = std::min(samples_ + 1, kAveraged);
  typical_ += (time - typical_) / samples_;
  shortest_ = std::min(shortest_, time);
}

void MeasuredTime::Assume(absl::Duration time) {
  if (samples_ > 0) return;
  typical_ = time;
  assumed_ = true;
}

void EvaluationCurve::Record(int rows, absl::Duration time) {
  if (time > absl::ZeroDuration()) times_[rows].Record(time);
}

absl::Duration EvaluationCurve::TimeOf(int rows) const {
  const auto above = times_.lower_bound(rows);
  if (above == times_.begin()) return above->second.typical();
  const auto below = std::prev(above);
  if (above == times_.end()) return below->second.typical() * rows / below->first;
  const double part = double(rows - below->first) / (above->first - below->first);
  return below->second.typical() + (above->second.typical() - below->second.typical()) * part;
}

absl::Duration EvaluationCurve::Shortest() const {
  absl::Duration shortest = absl::InfiniteDuration();
  for (const auto& [rows, time] : times_) shortest = std::min(shortest, time.shortest());
  return shortest;
}

int EvaluationCurve::Knee(double efficiency, int rows_max) const {
  double best = 0;
  int largest = 0;
  for (const auto& [rows, time] : times_) {
    if (!time.known() || rows > rows_max) continue;
    best = std::max(best, Throughput(rows, time));
    largest = rows;
  }
  for (const auto& [rows, time] : times_) {
    if (!time.known() || rows >= largest) continue;
    if (Throughput(rows, time) >= efficiency * best) return rows;
  }
  return rows_max;
}

std::vector<EvaluationCurve::Point> EvaluationCurve::Points() const {
  std::vector<Point> points;
  for (const auto& [rows, time] : times_) {
    if (time.known()) points.push_back({rows, time.typical()});
  }
  return points;
}

CostModel::Costs& CostModel::Of(const std::shared_ptr<const void>& network, int64_t height,
                                int64_t width) {
  std::erase_if(entries_, [](const auto& entry) { return entry.second.network.expired(); });
  const BatchKey key = KeyOf(network, height, width);
  if (entries_.size() >= kMaxEntries && !entries_.contains(key)) {
    const auto evicted = std::find_if(entries_.begin(), entries_.end(), [](const auto& entry) {
      return entry.second.costs.rows_max == std::numeric_limits<int>::max();
    });
    entries_.erase(evicted == entries_.end() ? entries_.begin() : evicted);
  }
  Entry& entry = entries_[key];
  entry.network = network;
  return entry.costs;
}

const CostModel::Costs* CostModel::Find(const std::shared_ptr<const void>& network, int64_t height,
                                        int64_t width) const {
  const auto entry = entries_.find(KeyOf(network, height, width));
  if (entry == entries_.end() || entry->second.network.expired()) return nullptr;
  return &entry->second.costs;
}

}  // namespace denoise
