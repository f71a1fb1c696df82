#include "server/scheduling/scheduler.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

#include "core/base/retry.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

constexpr int kEvaluationsPerExploration = 64;
// Memory that has run out once may be there again.
constexpr int kEvaluationsPerRetry = 256;
// An evaluation that takes so many times as long as it should may only be slow.
constexpr int kSlowest = 20;

}  // namespace

Scheduler::Scheduler(const Options& options, const Clock& clock)
    : options_(options),
      policy_({.batching = options.batching,
               .max_batch_rows = options.max_batch_rows,
               .max_active_rows = options.max_active_rows}),
      clock_(clock) {
  for (int worker = 0; worker < options.workers; ++worker) {
    loops_.push_back({.items = {},
                      .turn_time_max = options.turn_time_max,
                      .tasks = {},
                      .time = TimeShare(options.training_share)});
  }
  last_look_ = clock.Now();
}

absl::StatusOr<uint64_t> Scheduler::Submit(std::shared_ptr<Work> work) {
  const absl::Time now = clock_.Now();
  uint64_t id = 0;
  std::optional<QueuePlace> place;  // none: it has begun
  {
    const MutexLock lock(mutex_);
    RETURN_IF_ERROR(Admissible(work->demand(), now));
    id = next_id_++;
    const WorkDemand& demand = work->demand();
    entries_.emplace(id, Entry{.work = work,
                               .due = DueTime(demand, demand.evaluations, now),
                               .arrival = now,
                               .arrival_event = ++last_event_,
                               .waiting_since = now,
                               .last_event = last_event_,
                               .end = {}});
    FillLoops(now);
    for (const Queued& queued : NotStarted(now)) {
      if (queued.work == work) place = queued.place;
    }
  }
  if (place) work->OnQueued(*place);
  return id;
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
  const auto load = [](const Loop& loop) { return std::pair(!loop.works(), loop.tasks.size()); };
  const auto least =
      std::min_element(loops_.begin(), loops_.end(),
                       [&](const Loop& a, const Loop& b) { return load(a) < load(b); });
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
    EndTurn(loop, ready);
    while (!HasTurn(loop)) {
      if (stopped_) return std::nullopt;
      work_.Wait(mutex_);
      ready = clock_.Now();
    }
    loop.in_turn = true;
    loop.turn_time_max = options_.turn_time_max;
    if (std::exchange(loop.checks, false)) return Check();
    if (SliceIsDue(loop)) {
      loop.time.Begin(TimeShare::Activity::kSlice, ready, loop.tasks.HasUrgent());
      return Slice{loop.tasks.Begin()};
    }
    EndExpired(ready);
    DropEnded(loop, notices);
    CollectOver(notices);
    FillLoops(ready);
    notices.queued = NotStarted(ready);
    if (!loop.items.empty()) {
      loop.time.Begin(TimeShare::Activity::kEvaluation, ready);
      batch = TakeBatch(loop, ready);
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
  std::unique_ptr<WorkItem> removed;
  {
    const MutexLock lock(mutex_);
    Loop& loop = loops_[worker];
    Entry& entry = entries_.at(item->work_id);
    if (!status.ok() && entry.end.ok()) entry.end = status;
    removed = Unlink(loop, std::find_if(loop.items.begin(), loop.items.end(),
                                        [&](const auto& other) { return other.get() == item; }));
    EndExpired(now);
    CollectOver(notices);
    FillLoops(now);
  }
  removed.reset();  // frees the rows before any request is notified
  Notify(notices);
}

void Scheduler::RecordEvaluation(const std::shared_ptr<const void>& network, int64_t height,
                                 int64_t width, int rows, absl::Duration time) {
  const MutexLock lock(mutex_);
  CostModel::Costs& costs = costs_.Of(network, height, width);
  costs.evaluation.Record(rows, time);
  // Now and then a batch may be larger, so that what larger ones take does not grow stale.
  const bool explores = ++costs.evaluations % kEvaluationsPerExploration == 0;
  if (options_.batching == Batching::kEvaluation && options_.batch_efficiency < 1) {
    costs.knee = explores
                     ? std::numeric_limits<int>::max()
                     : costs.evaluation.Knee(options_.batch_efficiency, options_.max_batch_rows);
  }
  if (costs.rows_max < options_.max_batch_rows &&
      costs.evaluations - costs.limited_at >= kEvaluationsPerRetry) {
    costs.rows_max *= 2;
    costs.limited_at = costs.evaluations;
  }
}

void Scheduler::AssumeEvaluation(const std::shared_ptr<const void>& network, int64_t height,
                                 int64_t width, int rows, absl::Duration time) {
  const MutexLock lock(mutex_);
  costs_.Of(network, height, width).evaluation.Assume(rows, time);
}

void Scheduler::RecordStage(Stage stage, const std::shared_ptr<const void>& network, int64_t height,
                            int64_t width, absl::Duration time) {
  const MutexLock lock(mutex_);
  CostModel::Costs& costs = costs_.Of(network, height, width);
  (stage == Stage::kEncode ? costs.encoding : costs.decoding).Record(time);
}

void Scheduler::LimitRows(const std::shared_ptr<const void>& network, int64_t height, int64_t width,
                          int rows) {
  const MutexLock lock(mutex_);
  CostModel::Costs& costs = costs_.Of(network, height, width);
  costs.rows_max = std::min(costs.rows_max, std::max(1, rows / 2));
  costs.limited_at = costs.evaluations;
}

void Scheduler::StartDraining() {
  Works works;
  {
    const MutexLock lock(mutex_);
    draining_ = true;
    for (const auto& [id, entry] : entries_) {
      if (entry.end.ok()) works[id] = entry.work;
    }
  }
  HandOver(std::move(works), DrainingError());
}

void Scheduler::HandOver(uint64_t id, const absl::Status& status) {
  Works works;
  {
    const MutexLock lock(mutex_);
    const auto entry = entries_.find(id);
    if (entry != entries_.end() && entry->second.end.ok()) works[id] = entry->second.work;
  }
  HandOver(std::move(works), status);
}

void Scheduler::HandOver(Works works, const absl::Status& status) {
  std::erase_if(works, [](const auto& work) { return !work.second->AcceptsHandover(); });
  Notices notices;
  {
    const MutexLock lock(mutex_);
    for (const auto& [id, work] : works) {
      const auto entry = entries_.find(id);
      if (entry != entries_.end() && entry->second.end.ok()) entry->second.end = status;
    }
    CollectOver(notices);  // those that have not begun; the others are their workers'
  }
  Notify(notices);
}

bool Scheduler::Drain(absl::Time deadline) {
  const MutexLock lock(mutex_);
  draining_ = true;
  const auto is_notified = [](const auto& entry) { return entry.second.notified; };
  while (unnotified_ > 0 || !std::all_of(entries_.begin(), entries_.end(), is_notified)) {
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

std::vector<Queued> Scheduler::Queue() const {
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

size_t Scheduler::FlowTable::IndexOf(const Flow& flow) const {
  return std::lower_bound(flows.begin(), flows.end(), flow) - flows.begin();
}

Scheduler::FlowTable Scheduler::TableOf(std::vector<Flow> flows) const {
  std::sort(flows.begin(), flows.end());
  flows.erase(std::unique(flows.begin(), flows.end()), flows.end());
  std::vector<double> shares = Shares(flows, options_.tenant_weights);
  return {.flows = std::move(flows), .shares = std::move(shares)};
}

Scheduler::FlowTable Scheduler::PresentFlows(const Flow* another) const {
  std::vector<Flow> flows;
  for (const auto& [id, entry] : entries_) flows.push_back(entry.work->demand().flow);
  if (another != nullptr) flows.push_back(*another);
  return TableOf(std::move(flows));
}

Scheduler::Waiting Scheduler::WaitingRequests() const {
  Waiting waiting{.flows = PresentFlows(), .work = {}, .loops = {}, .workers = {}};
  for (const auto& [id, entry] : entries_) {
    if (!entry.waits()) continue;
    const WorkDemand& demand = entry.work->demand();
    waiting.work.push_back({.id = id,
                            .rows = demand.rows_max,
                            .row_size = demand.row_size,
                            .flow = waiting.flows.IndexOf(demand.flow),
                            .settings = demand.settings,
                            .waiting_since = entry.waiting_since,
                            .deadline = demand.deadline,
                            .last_event = entry.last_event,
                            .overtaken_by_rows = entry.overtaken_by_rows});
  }
  for (size_t worker = 0; worker < loops_.size(); ++worker) {
    if (!loops_[worker].works()) continue;
    waiting.loops.push_back(LoadOf(loops_[worker], waiting.flows));
    waiting.workers.push_back(worker);
  }
  return waiting;
}

LoopLoad Scheduler::LoadOf(const Loop& loop, const FlowTable& flows) const {
  LoopLoad load{.rows = std::vector<double>(flows.flows.size()),
                .tasks = static_cast<int>(loop.tasks.size()),
                .has_begun = loop.has_begun};
  for (const auto& item : loop.items) {
    const WorkDemand& demand = DemandOf(*item);
    load.rows[flows.IndexOf(demand.flow)] += demand.rows_max;
    load.rows_of_work[item->work_id] += demand.rows_max;
    load.work = item->work_id;
    load.settings = demand.settings;
  }
  return load;
}

// In the order in which they would start.
std::vector<Queued> Scheduler::NotStarted(absl::Time now) const {
  const Waiting waiting = WaitingRequests();
  std::vector<double> held(waiting.flows.flows.size());
  for (const LoopLoad& loop : waiting.loops) {
    for (size_t flow = 0; flow < held.size(); ++flow) held[flow] += loop.rows[flow];
  }
  const std::vector<size_t> order =
      policy_.Order(waiting.work, waiting.flows.shares, std::move(held), now);
  const std::vector<std::optional<absl::Duration>> waits = Waits(waiting, order);
  std::vector<Queued> not_started;
  for (size_t place = 0; place < order.size(); ++place) {
    const Entry& entry = entries_.at(waiting.work[order[place]].id);
    if (entry.items_begun > 0) continue;
    not_started.push_back({.work = entry.work,
                           .place = {.position = static_cast<int>(not_started.size()),
                                     .as_of = now,
                                     .expected_wait = waits[place]}});
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
    const std::optional<ItemPlacement> placement =
        policy_.Place(waiting.work, waiting.flows.shares, waiting.loops, now);
    if (!placement) return;
    for (const size_t i : placement->overtaken) {
      entries_.at(waiting.work[i].id).overtaken_by_rows += waiting.work[placement->work].rows;
    }
    PlaceItem(waiting.work[placement->work].id, loops_[waiting.workers[placement->loop]], now);
  }
}

void Scheduler::PlaceItem(uint64_t id, Loop& loop, absl::Time now) {
  Entry& entry = entries_.at(id);
  const WorkDemand& demand = entry.work->demand();
  std::unique_ptr<WorkItem> item = NextItem(entry, now);
  item->work_id = id;
  item->rows = demand.rows_first;
  item->stage = demand.first_stage;
  item->waiting_since = now;
  if (item->evaluations_left < 0) item->evaluations_left = demand.evaluations;
  loop.items.push_back(std::move(item));
  loop.rows += demand.rows_max;
  ++entry.items_active;
  entry.overtaken_by_rows = 0;
  work_.NotifyAll();
}

// A request keeps its place until all of its displaced items are in a loop again.
std::unique_ptr<WorkItem> Scheduler::NextItem(Entry& entry, absl::Time now) {
  std::unique_ptr<WorkItem> item;
  if (entry.displaced.empty()) {
    item = entry.work->MakeItem(entry.items_begun++);
  } else {
    item = std::move(entry.displaced.front());
    entry.displaced.pop_front();
  }
  if (entry.displaced.empty()) {
    entry.waiting_since = now;
    entry.last_event = ++last_event_;
  }
  return item;
}

Scheduler::Loop* Scheduler::LoopOfTask(uint64_t task) {
  const auto found = std::find_if(loops_.begin(), loops_.end(),
                                  [&](const Loop& loop) { return loop.tasks.Contains(task); });
  return found == loops_.end() ? nullptr : &*found;
}

bool Scheduler::HasTurn(const Loop& loop) const {
  return loop.checks || !loop.items.empty() || SliceIsDue(loop);
}

bool Scheduler::SliceIsDue(const Loop& loop) const {
  if (stopped_ || !loop.tasks.HasRunnable()) return false;
  return loop.items.empty() || loop.tasks.HasUrgent() || loop.time.SliceIsDue();
}

// Those too whose images could not be finished in time at the best speed seen: they would only keep
// others from being in time.
void Scheduler::EndExpired(absl::Time now) {
  const std::map<uint64_t, int> left = EvaluationsLeft();
  for (auto& [id, entry] : entries_) {
    const WorkDemand& demand = entry.work->demand();
    if (!entry.end.ok() || demand.deadline == absl::InfiniteFuture()) continue;
    const CostModel::Costs* const costs = CostsOf(demand);
    absl::Duration needed;
    if (costs != nullptr && costs->evaluation.Shortest() < absl::InfiniteDuration()) {
      needed = costs->evaluation.Shortest() * left.at(id);
    }
    if (now + needed < demand.deadline) continue;
    entry.end = absl::DeadlineExceededError(
        demand.deadline > now ? "the images cannot be finished before the deadline any more"
                              : "the deadline passed before the images were finished");
  }
}

// Of that item of each request which needs most.
std::map<uint64_t, int> Scheduler::EvaluationsLeft() const {
  std::map<uint64_t, int> left;
  for (const auto& [id, entry] : entries_) {
    left[id] = entry.waits() ? entry.work->demand().evaluations : 0;
  }
  for (const Loop& loop : loops_) {
    for (const auto& item : loop.items) {
      int& of_request = left.at(item->work_id);
      of_request = std::max(of_request, item->evaluations_left.load());
    }
  }
  return left;
}

void Scheduler::DropEnded(Loop& loop, Notices& notices) {
  for (auto item = loop.items.begin(); item != loop.items.end();) {
    const auto next = std::next(item);
    const Entry& entry = entries_.at((*item)->work_id);
    if (!entry.end.ok()) {
      notices.dropped.push_back({.work = entry.work, .item = UnlinkStillActive(loop, item)});
    }
    item = next;
  }
}

std::unique_ptr<WorkItem> Scheduler::Unlink(Loop& loop, Items::iterator item) {
  --entries_.at((*item)->work_id).items_active;
  return UnlinkStillActive(loop, item);
}

std::unique_ptr<WorkItem> Scheduler::UnlinkStillActive(Loop& loop, Items::iterator item) {
  loop.rows -= DemandOf(**item).rows_max;
  std::unique_ptr<WorkItem> unlinked = std::move(*item);
  loop.items.erase(item);
  if (loop.items.empty()) loop.has_begun = false;
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
}

const WorkDemand& Scheduler::DemandOf(const WorkItem& item) const {
  return entries_.at(item.work_id).work->demand();
}

LoopItem Scheduler::Candidate(const Loop& loop, const WorkItem& item,
                              const FlowTable& flows) const {
  const Entry& entry = entries_.at(item.work_id);
  const WorkDemand& demand = entry.work->demand();
  const bool alone =
      item.stage == Stage::kDecode || (item.stage == Stage::kEncode && demand.encodes_alone);
  return {.key = {.network = demand.network.get(),
                  .height = demand.height,
                  .width = demand.width,
                  .stage = item.stage},
          .rows = item.rows,
          .row_size = demand.row_size,
          .rows_max =
              item.stage == Stage::kEvaluate ? BatchRows(demand) : std::numeric_limits<int>::max(),
          .alone = alone,
          .flow = flows.IndexOf(demand.flow),
          .yields = alone && loop.picture == demand.flow,
          .opens = item.index == 0 && !item.evaluated && !loop.opened.contains(demand.flow),
          .waiting_since = item.waiting_since,
          .due = entry.due};
}

Batch Scheduler::TakeBatch(Loop& loop, absl::Time now) {
  std::vector<Flow> present;
  for (const auto& item : loop.items) present.push_back(DemandOf(*item).flow);
  const FlowTable flows = TableOf(std::move(present));
  std::vector<FlowInLoop> accounts;
  loop.turn = {.began = now, .uses = {}};
  for (size_t i = 0; i < flows.flows.size(); ++i) {
    const Flow& flow = flows.flows[i];
    accounts.push_back(
        {.share = flows.shares[i], .virtual_time = loop.account.VirtualTimeOf(flow)});
    loop.turn.uses.push_back({.flow = flow, .share = flows.shares[i], .time = {}});
  }
  std::vector<LoopItem> candidates;
  std::vector<Items::iterator> items;
  for (auto item = loop.items.begin(); item != loop.items.end(); ++item) {
    candidates.push_back(Candidate(loop, **item, flows));
    loop.turn.uses[candidates.back().flow].left_out = true;
    items.push_back(item);
  }
  std::vector<int> waiting(flows.flows.size());  // items of each flow that are left out
  for (const LoopItem& candidate : candidates) ++waiting[candidate.flow];
  Batch batch;
  loop.opened.clear();
  for (const size_t i : policy_.ChooseBatch(candidates, accounts, loop.seconds_per_row)) {
    WorkItem& item = **items[i];
    batch.stage = item.stage;
    batch.items.push_back(&item);
    batch.rows += item.rows;
    batch.rows_saved += DemandOf(item).rows_full - item.rows;
    FairAccount::Use& use = loop.turn.uses[candidates[i].flow];
    use.rows += item.rows;
    use.left_out = --waiting[candidates[i].flow] > 0;
    item.waiting_since = now;
    item.had_turn = true;
    if (candidates[i].opens) loop.opened.insert(flows.flows[candidates[i].flow]);
    item.evaluated |= item.stage == Stage::kEvaluate;
    loop.picture =
        candidates[i].alone ? std::optional(flows.flows[candidates[i].flow]) : std::nullopt;
    loop.items.splice(loop.items.end(), loop.items, items[i]);
  }
  loop.turn.rows = batch.rows;
  loop.turn.stage = batch.stage;
  if (const auto* costs = CostsOf(DemandOf(*batch.items.front()));
      costs != nullptr && batch.stage == Stage::kEvaluate) {
    loop.turn.expected = costs->evaluation.TimeOf(batch.rows);
    loop.turn_time_max = std::max(loop.turn_time_max, kSlowest * *loop.turn.expected);
  }
  loop.has_begun = true;
  return batch;
}

// What the turn has taken is charged to the flows by their rows.
void Scheduler::EndTurn(Loop& loop, absl::Time now) {
  loop.in_turn = loop.turn_seen = false;
  loop.turn_time = absl::ZeroDuration();
  ChargedTurn turn = std::exchange(loop.turn, {});
  if (turn.rows == 0) return;
  const absl::Duration time =
      turn.expected.value_or(std::max(now - turn.began, absl::ZeroDuration()));
  const absl::Duration per_row = time / turn.rows;
  for (FairAccount::Use& use : turn.uses) use.time = per_row * use.rows;
  loop.account.Charge(turn.uses);
  if (turn.stage == Stage::kEvaluate) loop.seconds_per_row = absl::ToDoubleSeconds(per_row);
}

// Requests hear of all their items before they hear of their end, whichever workers had them; rows
// are freed before that, too.
void Scheduler::Forget(Notices& notices) {
  if (notices.dropped.empty()) return;
  std::vector<uint64_t> ids;
  for (const auto& [work, item] : notices.dropped) {
    work->OnDropped(*item);
    ids.push_back(item->work_id);
  }
  notices.dropped.clear();
  const MutexLock lock(mutex_);
  for (const uint64_t id : ids) --entries_.at(id).items_active;
  CollectOver(notices);
}

void Scheduler::Notify(Notices& notices) {
  Forget(notices);
  for (const Entry& entry : notices.over) {
    if (!entry.notified) entry.work->OnFinished(entry.end);
  }
  for (const Queued& queued : notices.queued) queued.work->OnQueued(queued.place);
  if (notices.over.empty()) return;
  const MutexLock lock(mutex_);
  unnotified_ -= static_cast<int>(notices.over.size());
  idle_.NotifyAll();
}

}  // namespace denoise
