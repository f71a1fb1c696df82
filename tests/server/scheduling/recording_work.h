// Work that computes nothing and remembers what it was notified of.
#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "server/scheduling/work.h"

namespace denoise {

// For one thread at a time.
class RecordingWork : public Work {
 public:
  explicit RecordingWork(WorkDemand demand) : Work(std::move(demand)) {}

  std::unique_ptr<WorkItem> MakeItem(int index) override {
    return std::make_unique<WorkItem>(index);
  }
  void OnQueued(const QueuePlace& place) override {
    expected_wait_ = place.expected_wait;
    const int position = place.position;
    if (positions_.empty() || position != positions_.back()) positions_.push_back(position);
  }
  bool AcceptsHandover() override {
    ++handover_offers_;
    return false;
  }
  void OnDropped(WorkItem& item) override { dropped_.push_back(item.index); }
  void OnWorkerFailed(WorkItem& item) override { displaced_.push_back(item.index); }
  void OnFinished(const absl::Status& status) override {
    ++finishes_;
    status_ = status;
  }

  bool finished() const { return status_.has_value(); }
  const std::optional<absl::Status>& status() const { return status_; }
  int finishes() const { return finishes_; }
  int handover_offers() const { return handover_offers_; }
  // Items that have left before their end, and those whose workers have failed, in that order.
  const std::vector<int>& dropped() const { return dropped_; }
  const std::vector<int>& displaced() const { return displaced_; }
  const std::vector<int>& positions() const { return positions_; }
  const std::optional<absl::Duration>& expected_wait() const { return expected_wait_; }

 private:
  std::optional<absl::Status> status_;
  int finishes_ = 0;
  int handover_offers_ = 0;
  std::vector<int> dropped_;
  std::vector<int> displaced_;
  std::vector<int> positions_;
  std::optional<absl::Duration> expected_wait_;
};

}  // namespace denoise
