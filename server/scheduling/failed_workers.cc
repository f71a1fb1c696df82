// What becomes of the items of a worker that has failed or hangs.
#include <algorithm>
#include <iterator>
#include <utility>

#include "core/base/retry.h"
#include "server/scheduling/scheduler.h"

namespace denoise {
namespace {

// An item may be what makes its worker fail; it must not take one after the other with it.
constexpr int kMaxRestarts = 1;

}  // namespace

void Scheduler::CheckWorkers() {
  const MutexLock lock(mutex_);
  for (Loop& loop : loops_) loop.checks = !loop.failed;
  work_.NotifyAll();
}

int Scheduler::WorkingWorkers() const {
  const MutexLock lock(mutex_);
  return CountWorking();
}

int Scheduler::CountWorking() const {
  return static_cast<int>(
      std::count_if(loops_.begin(), loops_.end(), [](const Loop& loop) { return loop.works(); }));
}

void Scheduler::FailWorker(int worker) {
  const absl::Time now = clock_.Now();
  Notices notices;
  std::vector<Dropped> displaced;
  bool is_last = false;
  {
    const MutexLock lock(mutex_);
    Loop& loop = loops_[worker];
    loop.failed = true;
    loop.checks = false;
    loop.turn = {};
    loop.tasks.WakeAll();
    EndExpired(now);
    DropEnded(loop, notices);
    displaced = TakeItems(loop);
    is_last = CountWorking() == 0;
  }
  for (const auto& [work, item] : displaced) work->OnWorkerFailed(*item);
  if (is_last) EndWithoutWorkers();
  {
    const MutexLock lock(mutex_);
    for (Dropped& dropped : displaced) Displace(std::move(dropped.item));
    CollectOver(notices);
    FillLoops(now);
    notices.queued = NotStarted(now);
  }
  displaced.clear();
  Notify(notices);
}

std::vector<Scheduler::Dropped> Scheduler::TakeItems(Loop& loop) {
  std::vector<Dropped> taken;
  while (!loop.items.empty()) {
    const std::shared_ptr<Work> work = entries_.at(loop.items.front()->work_id).work;
    taken.push_back({.work = work, .item = UnlinkStillActive(loop, loop.items.begin())});
    taken.back().item->evaluations_left = -1;
  }
  return taken;
}

// The request waits again as since its arrival: others of its flow have not overtaken it.
void Scheduler::Displace(std::unique_ptr<WorkItem> item) {
  Entry& entry = entries_.at(item->work_id);
  --entry.items_active;
  if (!entry.end.ok()) return;
  if (++item->restarts > kMaxRestarts) {
    entry.end = DeviceFailedError();
    return;
  }
  entry.displaced.push_back(std::move(item));
  entry.waiting_since = entry.arrival;
  entry.last_event = entry.arrival_event;
}

// Requests that can continue on another server are handed over.
void Scheduler::EndWithoutWorkers() {
  std::vector<std::shared_ptr<Work>> works;
  {
    const MutexLock lock(mutex_);
    for (auto& [id, entry] : entries_) {
      if (entry.end.ok()) works.push_back(entry.work);
    }
  }
  for (const std::shared_ptr<Work>& work : works) work->AcceptsHandover();
  EndAll(DeviceFailedError());
}

std::vector<Scheduler::HangChange> Scheduler::FindHangs() {
  const absl::Time now = clock_.Now();
  std::vector<HangChange> changes;
  Works held;
  bool none_works = false;
  {
    const MutexLock lock(mutex_);
    changes = ChangedHangs(now);
    if (changes.empty()) return changes;
    for (const HangChange& change : changes) {
      if (change.hangs) DisplaceNotBegun(loops_[change.worker]);
    }
    held = HeldByHangingWorkers();
    none_works = CountWorking() == 0;
  }
  EndHeld(held);
  if (none_works) EndWithoutWorkers();
  Notices notices;
  {
    const MutexLock lock(mutex_);
    CollectOver(notices);
    FillLoops(now);
    notices.queued = NotStarted(now);
  }
  Notify(notices);
  return changes;
}

std::vector<Scheduler::HangChange> Scheduler::ChangedHangs(absl::Time now) {
  const absl::Duration elapsed =
      std::clamp(now - last_look_, absl::ZeroDuration(), absl::Duration(kLongestLook));
  last_look_ = now;
  std::vector<HangChange> changes;
  for (size_t worker = 0; worker < loops_.size(); ++worker) {
    Loop& loop = loops_[worker];
    if (loop.in_turn && std::exchange(loop.turn_seen, true)) loop.turn_time += elapsed;
    const bool hangs = !loop.failed && loop.in_turn && loop.turn_time >= loop.turn_time_max;
    if (hangs == std::exchange(loop.hangs, hangs)) continue;
    changes.push_back({.worker = static_cast<int>(worker), .hangs = hangs});
  }
  return changes;
}

// The worker's thread knows nothing of these, and they have nothing on its device.
void Scheduler::DisplaceNotBegun(Loop& loop) {
  for (auto item = loop.items.begin(); item != loop.items.end();) {
    const auto next = std::next(item);
    if (!(*item)->had_turn) {
      Displace(UnlinkStillActive(loop, item));
    }
    item = next;
  }
}

// Those with active items that are in the loop of no worker that works. They are in the loop of one
// that hangs, or it has dropped them and hangs in what follows.
Scheduler::Works Scheduler::HeldByHangingWorkers() const {
  std::map<uint64_t, int> elsewhere;
  for (const Loop& loop : loops_) {
    if (!loop.works()) continue;
    for (const auto& item : loop.items) ++elsewhere[item->work_id];
  }
  Works held;
  for (const auto& [id, entry] : entries_) {
    if (entry.items_active > elsewhere[id]) held[id] = entry.work;
  }
  return held;
}

// Those that have ended otherwise meanwhile hear of that.
void Scheduler::EndHeld(const Works& held) {
  for (const auto& [id, work] : held) work->AcceptsHandover();
  std::vector<std::pair<std::shared_ptr<Work>, absl::Status>> over;
  {
    const MutexLock lock(mutex_);
    for (const auto& [id, work] : held) {
      const auto found = entries_.find(id);
      if (found == entries_.end() || found->second.items_active == 0) continue;
      Entry& entry = found->second;
      if (std::exchange(entry.notified, true)) continue;
      if (entry.end.ok()) entry.end = DeviceFailedError();
      over.emplace_back(work, entry.end);
    }
    unnotified_ += static_cast<int>(over.size());
  }
  for (const auto& [work, status] : over) work->OnFinished(status);
  const MutexLock lock(mutex_);
  unnotified_ -= static_cast<int>(over.size());
  idle_.NotifyAll();
}

}  // namespace denoise
