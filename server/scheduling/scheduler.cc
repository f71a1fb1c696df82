#include "server/scheduling/scheduler.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error_details.h"
#include "core/base/retry.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

constexpr absl::Duration kRetryWhenFull = absl::Seconds(1);
constexpr size_t kMaxEstimates = 1000;

}  // namespace

Scheduler::Scheduler(const Options& options, const Clock& clock)
    : options_(options),
      policy_(
          {.max_batch_rows = options.max_batch_rows, .max_active_rows = options.max_active_rows}),
      clock_(clock) {
  for (int worker = 0; worker < options.workers; ++worker) {
    loops_.push_back({.items = {}, .tasks = {}, .time = TimeShare(options.training_share)});
  }
}

absl::StatusOr<uint64_t> Scheduler::Submit(std::shared_ptr<Work> work) {
  const absl::Time now = clock_.Now();
  uint64_t id = 0;
  int position = -1;  // it has begun
  {
    const MutexLock lock(mutex_);
    RETURN_IF_ERROR(Admissible(work->demand(), now));
    id = next_id_++;
    tenants_.try_emplace(work->demand().tenant, last_event_ + 1);
    entries_.emplace(
        id, Entry{.work = work, .waiting_since = now, .last_event = ++last_event_, .end = {}});
    FillLoops(now);
    const auto waiting = NotStarted(now);
    const auto found = std::find(waiting.begin(), waiting.end(), work);
    if (found != waiting.end()) position = static_cast<int>(found - waiting.begin());
  }
  if (position >= 0) work->OnQueued(position);
  return id;
}

absl::Status Scheduler::Admissible(const WorkDemand& demand, absl::Time now) const {
  if (draining_) return DrainingError();
  const absl::Duration left = demand.deadline - now;
  if (left <= absl::ZeroDuration()) return absl::DeadlineExceededError("the deadline has passed");
  if (const auto fastest =
          fastest_.find({demand.network.get(), demand.height, demand.width, Stage::kEvaluate});
      fastest != fastest_.end() && !fastest->second.network.expired() &&
      left < fastest->second.duration * int64_t{demand.evaluations}) {
    return absl::DeadlineExceededError(
        "the deadline cannot be met: ask for fewer steps, or allow more time");
  }
  if (CountNotStarted() >= options_.queue_size) {
    return WithErrorReason(
        UnavailableRetryAfter(
            absl::StrCat("the queue is full: ", CountNotStarted(), " of at most ",
                         options_.queue_size, " requests wait to start (--queue-size). Retry in ",
                         absl::FormatDuration(kRetryWhenFull)),
            kRetryWhenFull),
        kQueueFullReason);
  }
  return absl::OkStatus();
}

void Scheduler::End(uint64_t id, const absl::Status& status) {
  const MutexLock lock(mutex_);
  const auto entry = entries_.find(id);
  if (entry != entries_.end() && entry->second.end.ok()) entry->second.end = status;
}

void Scheduler::EndAll(const absl::Status& status) {
  const MutexLock lock(mutex_);
  for (auto& [id, entry] : entries_) {
    if (entry.end.ok()) entry.end = status;
  }
}

uint64_t Scheduler::AddTask(std::shared_ptr<DeviceTask> task, int worker, int priority) {
  const MutexLock lock(mutex_);
  const uint64_t id = next_id_++;
  loops_[worker].tasks.Add(id, std::move(task), priority);
  work_.NotifyAll();
  return id;
}

int Scheduler::LeastLoadedWorker() const {
  const MutexLock lock(mutex_);
  const auto least = std::min_element(
      loops_.begin(), loops_.end(),
      [](const Loop& a, const Loop& b) { return a.tasks.size() < b.tasks.size(); });
  return static_cast<int>(least - loops_.begin());
}

void Scheduler::Wake(uint64_t task) {
  const MutexLock lock(mutex_);
  Loop* loop = LoopOfTask(task);
  if (loop == nullptr) return;
  loop->tasks.Wake(task);
  work_.NotifyAll();
}

void Scheduler::RemoveTask(uint64_t task) {
  std::shared_ptr<DeviceTask> removed;  // outlives the lock
  const MutexLock lock(mutex_);
  Loop* loop = LoopOfTask(task);
  if (loop == nullptr) return;
  loop->tasks.Retire(task);
  while (loop->tasks.IsRunning(task)) slice_over_.Wait(mutex_);
  removed = loop->tasks.Remove(task);
}

// A worker without items or a due slice may sleep: no request waits while its loop is empty. An
// empty loop takes any request, and those that may not be placed because they ended or their
// deadline passed are collected whenever an item leaves.
std::optional<Turn> Scheduler::NextTurn(int worker) {
  absl::Time ready = clock_.Now();
  Notices notices;
  Batch batch;
  {
    const MutexLock lock(mutex_);
    Loop& loop = loops_[worker];
    loop.time.End(ready);
    while (!HasTurn(loop)) {
      if (stopped_) return std::nullopt;
      work_.Wait(mutex_);
      ready = clock_.Now();
    }
    if (SliceIsDue(loop)) {
      loop.time.Begin(TimeShare::Activity::kSlice, ready);
      return Slice{loop.tasks.Begin()};
    }
    EndExpired(ready);
    DropEnded(loop, notices);
    CollectOver(notices);
    FillLoops(ready);
    notices.queued = NotStarted(ready);
    if (!loop.items.empty()) {
      loop.time.Begin(TimeShare::Activity::kEvaluation, ready);
      batch = TakeBatch(loop);
    }
  }
  Notify(notices);
  batch.ready = ready;
  return batch;
}

void Scheduler::EndSlice(int worker, DeviceTask::Outcome outcome) {
  std::shared_ptr<DeviceTask> done;  // outlives the lock
  const MutexLock lock(mutex_);
  done = loops_[worker].tasks.End(outcome);
  slice_over_.NotifyAll();
}

void Scheduler::Remove(int worker, WorkItem* item, const absl::Status& status) {
  const absl::Time now = clock_.Now();
  Notices notices;
  {
    const MutexLock lock(mutex_);
    Loop& loop = loops_[worker];
    Entry& entry = entries_.at(item->work_id);
    if (!status.ok() && entry.end.ok()) entry.end = status;
    notices.dropped.push_back(
        Unlink(loop, std::find_if(loop.items.begin(), loop.items.end(),
                                  [&](const auto& other) { return other.get() == item; })));
    EndExpired(now);
    CollectOver(notices);
    FillLoops(now);
  }
  Notify(notices);
}

void Scheduler::RecordEvaluation(const std::shared_ptr<const void>& network, int64_t height,
                                 int64_t width, absl::Duration duration) {
  if (duration <= absl::ZeroDuration()) return;  // the clock was set back meanwhile
  const MutexLock lock(mutex_);
  std::erase_if(fastest_, [](const auto& item) { return item.second.network.expired(); });
  if (fastest_.size() >= kMaxEstimates) fastest_.clear();  // callers choose sizes
  const auto [item, inserted] = fastest_.try_emplace(
      {network.get(), height, width, Stage::kEvaluate}, FastestEvaluation{network, duration});
  if (!inserted) item->second.duration = std::min(item->second.duration, duration);
}

bool Scheduler::Drain(absl::Time deadline) {
  const MutexLock lock(mutex_);
  draining_ = true;
  while (!entries_.empty() || unnotified_ > 0) {
    if (clock_.Now() >= deadline) return false;
    clock_.WaitUntil(idle_, mutex_, deadline);
  }
  return true;
}

void Scheduler::Stop() {
  const MutexLock lock(mutex_);
  draining_ = stopped_ = true;
  work_.NotifyAll();
}

int Scheduler::QueueDepth() const {
  const MutexLock lock(mutex_);
  return CountNotStarted();
}

std::vector<std::shared_ptr<Work>> Scheduler::Queue() const {
  const absl::Time now = clock_.Now();
  const MutexLock lock(mutex_);
  return NotStarted(now);
}

bool Scheduler::HasTurn(int worker) const {
  const MutexLock lock(mutex_);
  return HasTurn(loops_[worker]);
}

int Scheduler::ActiveRows(int worker) const {
  const MutexLock lock(mutex_);
  return loops_[worker].rows;
}

int Scheduler::ItemsAt(int worker, Stage stage) const {
  const MutexLock lock(mutex_);
  const Items& items = loops_[worker].items;
  return static_cast<int>(std::count_if(items.begin(), items.end(),
                                        [&](const auto& item) { return item->stage == stage; }));
}

Scheduler::Waiting Scheduler::WaitingRequests() const {
  Waiting waiting;
  for (const auto& [id, entry] : entries_) {
    if (!entry.waits()) continue;
    const WorkDemand& demand = entry.work->demand();
    waiting.ids.push_back(id);
    waiting.work.push_back({.rows = demand.rows_max,
                            .priority = demand.priority,
                            .waiting_since = entry.waiting_since,
                            .deadline = demand.deadline,
                            .last_event = entry.last_event,
                            .tenant_last_event = tenants_.at(demand.tenant),
                            .overtaken_by_rows = entry.overtaken_by_rows});
  }
  return waiting;
}

// In the order in which they would start.
std::vector<std::shared_ptr<Work>> Scheduler::NotStarted(absl::Time now) const {
  const Waiting waiting = WaitingRequests();
  std::vector<std::shared_ptr<Work>> not_started;
  for (const size_t i : policy_.Order(waiting.work, now)) {
    const Entry& entry = entries_.at(waiting.ids[i]);
    if (entry.items_begun == 0) not_started.push_back(entry.work);
  }
  return not_started;
}

int Scheduler::CountNotStarted() const {
  return static_cast<int>(std::count_if(entries_.begin(), entries_.end(), [](const auto& item) {
    return item.second.items_begun == 0;
  }));
}

void Scheduler::FillLoops(absl::Time now) {
  while (true) {
    const Waiting waiting = WaitingRequests();
    if (waiting.work.empty()) return;
    std::vector<LoopLoad> loads;
    for (const Loop& loop : loops_) {
      loads.push_back({.rows = loop.rows, .tasks = static_cast<int>(loop.tasks.size())});
    }
    const std::optional<Placement> placement = policy_.Place(waiting.work, loads, now);
    if (!placement) return;
    for (const size_t i : placement->overtaken) {
      entries_.at(waiting.ids[i]).overtaken_by_rows += waiting.work[placement->work].rows;
    }
    PlaceItem(waiting.ids[placement->work], loops_[placement->loop], now);
  }
}

void Scheduler::PlaceItem(uint64_t id, Loop& loop, absl::Time now) {
  Entry& entry = entries_.at(id);
  const WorkDemand& demand = entry.work->demand();
  auto item = entry.work->MakeItem(entry.items_begun++);
  item->work_id = id;
  item->rows = demand.rows_first;
  item->stage = demand.first_stage;
  loop.items.push_back(std::move(item));
  loop.rows += demand.rows_max;
  ++entry.items_active;
  entry.waiting_since = now;
  entry.overtaken_by_rows = 0;
  tenants_[demand.tenant] = entry.last_event = ++last_event_;
  work_.NotifyAll();
}

Scheduler::Loop* Scheduler::LoopOfTask(uint64_t task) {
  const auto found = std::find_if(loops_.begin(), loops_.end(),
                                  [&](const Loop& loop) { return loop.tasks.Contains(task); });
  return found == loops_.end() ? nullptr : &*found;
}

bool Scheduler::HasTurn(const Loop& loop) const { return !loop.items.empty() || SliceIsDue(loop); }

bool Scheduler::SliceIsDue(const Loop& loop) const {
  if (stopped_ || !loop.tasks.HasRunnable()) return false;
  return loop.items.empty() || loop.time.SliceIsDue();
}

void Scheduler::EndExpired(absl::Time now) {
  for (auto& [id, entry] : entries_) {
    if (!entry.end.ok() || entry.work->demand().deadline > now) continue;
    entry.end = absl::DeadlineExceededError("the deadline passed before the images were finished");
  }
}

void Scheduler::DropEnded(Loop& loop, Notices& notices) {
  for (auto item = loop.items.begin(); item != loop.items.end();) {
    const auto next = std::next(item);
    if (!entries_.at((*item)->work_id).end.ok()) notices.dropped.push_back(Unlink(loop, item));
    item = next;
  }
}

std::unique_ptr<WorkItem> Scheduler::Unlink(Loop& loop, Items::iterator item) {
  Entry& entry = entries_.at((*item)->work_id);
  --entry.items_active;
  loop.rows -= entry.work->demand().rows_max;
  std::unique_ptr<WorkItem> unlinked = std::move(*item);
  loop.items.erase(item);
  return unlinked;
}

// Requests without active items are over once they have ended or begun every item.
void Scheduler::CollectOver(Notices& notices) {
  const size_t before = notices.over.size();
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    if (entry->second.items_active > 0 || entry->second.waits()) {
      ++entry;
      continue;
    }
    notices.over.push_back(std::move(entry->second));
    entry = entries_.erase(entry);
  }
  unnotified_ += static_cast<int>(notices.over.size() - before);
  if (notices.over.size() == before) return;
  std::set<std::string> present;
  for (const auto& [id, entry] : entries_) present.insert(entry.work->demand().tenant);
  std::erase_if(tenants_, [&](const auto& tenant) { return !present.contains(tenant.first); });
}

Batch Scheduler::TakeBatch(Loop& loop) const {
  std::vector<LoopItem> candidates;
  std::vector<Items::iterator> items;
  for (auto item = loop.items.begin(); item != loop.items.end(); ++item) {
    const WorkDemand& demand = entries_.at((*item)->work_id).work->demand();
    candidates.push_back({.key = {.network = demand.network.get(),
                                  .height = demand.height,
                                  .width = demand.width,
                                  .stage = (*item)->stage},
                          .rows = (*item)->rows,
                          .row_size = demand.row_size});
    items.push_back(item);
  }
  Batch batch{.stage = candidates.front().key.stage};
  for (const size_t i : policy_.ChooseBatch(candidates)) {
    WorkItem& item = **items[i];
    batch.items.push_back(&item);
    batch.rows += item.rows;
    batch.rows_saved += entries_.at(item.work_id).work->demand().rows_full - item.rows;
    loop.items.splice(loop.items.end(), loop.items, items[i]);
  }
  if (batch.stage == Stage::kDecode) LetOthersGoFirst(loop, items);
  return batch;
}

// Images that wait for the same decoder go behind everything else, the one that has just had its
// turn last: evaluations and decoding alternate, however many images are being decoded.
void Scheduler::LetOthersGoFirst(Loop& loop, const std::vector<Items::iterator>& items) {
  const WorkItem* const chosen = items.front()->get();
  for (const Items::iterator item : items) {
    if ((*item)->stage == Stage::kDecode && item->get() != chosen) {
      loop.items.splice(loop.items.end(), loop.items, item);
    }
  }
  loop.items.splice(loop.items.end(), loop.items, items.front());
}

void Scheduler::Notify(Notices& notices) {
  notices.dropped.clear();  // frees the rows before any request is notified
  for (const Entry& entry : notices.over) entry.work->OnFinished(entry.end);
  for (size_t position = 0; position < notices.queued.size(); ++position) {
    notices.queued[position]->OnQueued(static_cast<int>(position));
  }
  if (notices.over.empty()) return;
  const MutexLock lock(mutex_);
  unnotified_ -= static_cast<int>(notices.over.size());
  idle_.NotifyAll();
}

}  // namespace denoise
