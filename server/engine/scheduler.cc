#include "server/engine/scheduler.h"

#include <algorithm>
#include <utility>

#include "core/base/retry.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

constexpr absl::Duration kRetryWhenFull = absl::Seconds(1);

}  // namespace

Scheduler::Scheduler(const Options& options, const Clock& clock)
    : options_(options), clock_(clock) {
  for (int worker = 0; worker < options.workers; ++worker) {
    loops_.push_back({.images = {}, .tasks = {}, .time = TimeShare(options.training_share)});
  }
}

absl::StatusOr<uint64_t> Scheduler::Submit(GenerationRequest request,
                                           std::shared_ptr<GenerationSink> sink) {
  const absl::Time now = clock_.Now();
  std::shared_ptr<ActiveGeneration> generation;
  int position = 0;
  bool begun = false;
  {
    const MutexLock lock(mutex_);
    RETURN_IF_ERROR(Admissible(request));
    const uint64_t id = next_id_++;
    const int row_cost = MaxRows(request.conditioning, *request.plan);
    generation = std::make_shared<ActiveGeneration>(id, std::move(request), std::move(sink), now);
    position = CountNotStarted();
    Entry& entry =
        entries_.emplace(id, Entry{.generation = generation, .row_cost = row_cost, .end = {}})
            .first->second;
    queue_.push_back(id);
    FillLoops();
    begun = entry.images_begun > 0;
  }
  if (!begun) generation->Queued(position);
  return generation->id();
}

absl::Status Scheduler::Admissible(const GenerationRequest& request) const {
  if (draining_) return DrainingError();
  const absl::Duration left = request.deadline - clock_.Now();
  if (left <= absl::ZeroDuration()) return absl::DeadlineExceededError("the deadline has passed");
  if (const auto fastest = fastest_.find(request.networks.get());
      fastest != fastest_.end() && !fastest->second.networks.expired() &&
      left < fastest->second.duration * static_cast<int64_t>(request.plan->evaluations.size())) {
    return absl::DeadlineExceededError(
        "the deadline cannot be met: ask for fewer steps, or allow more time");
  }
  if (CountNotStarted() >= options_.queue_size) {
    return UnavailableRetryAfter("the queue is full; try again later", kRetryWhenFull);
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

// An idle worker never has anything to sweep: generations wait only while every loop is full, and
// one that is in a loop is swept by that loop's worker. So work is an image, a slice, or the end.
std::optional<Turn> Scheduler::NextTurn(int worker) {
  absl::Time ready = clock_.Now();
  Notices notices;
  Batch batch;
  {
    const MutexLock lock(mutex_);
    Loop& loop = loops_[worker];
    loop.time.End(ready);
    while (loop.images.empty() && !SliceIsDue(loop)) {
      if (stopped_) return std::nullopt;
      work_.Wait(mutex_);
      ready = clock_.Now();
    }
    if (SliceIsDue(loop)) {
      loop.time.Begin(TimeShare::Turn::kSlice, ready);
      return Slice{loop.tasks.Begin()};
    }
    Sweep(loop, ready, notices);
    FillLoops();
    notices.queued = NotStarted();
    if (!loop.images.empty()) {
      loop.time.Begin(TimeShare::Turn::kEvaluation, ready);
      batch = TakeBatch(loop);
    }
  }
  Tell(notices);
  batch.ready = ready;
  return batch;
}

void Scheduler::EndSlice(int worker, DeviceTask::Outcome outcome) {
  std::shared_ptr<DeviceTask> done;  // outlives the lock
  const MutexLock lock(mutex_);
  done = loops_[worker].tasks.End(outcome);
  slice_over_.NotifyAll();
}

void Scheduler::Remove(int worker, ActiveImage* image, const absl::Status& status) {
  Notices notices;
  {
    const MutexLock lock(mutex_);
    Loop& loop = loops_[worker];
    const auto entry = entries_.find(image->generation->id());
    if (!status.ok() && entry->second.end.ok()) entry->second.end = status;
    const auto found =
        std::find_if(loop.images.begin(), loop.images.end(),
                     [&](const auto& candidate) { return candidate.get() == image; });
    notices.dropped.push_back(Unlink(loop, found));
    CollectIfOver(entry, notices);
    FillLoops();
  }
  Tell(notices);
}

void Scheduler::RecordEvaluation(const std::shared_ptr<const NetworkReplicas>& networks,
                                 absl::Duration duration) {
  if (duration <= absl::ZeroDuration()) return;  // the clock was set back meanwhile
  const MutexLock lock(mutex_);
  std::erase_if(fastest_, [](const auto& item) { return item.second.networks.expired(); });
  const auto [item, inserted] =
      fastest_.try_emplace(networks.get(), FastestEvaluation{networks, duration});
  if (!inserted) item->second.duration = std::min(item->second.duration, duration);
}

bool Scheduler::Drain(absl::Time deadline) {
  const MutexLock lock(mutex_);
  draining_ = true;
  while (!entries_.empty() || untold_ > 0) {
    if (idle_.WaitUntil(mutex_, deadline)) return entries_.empty() && untold_ == 0;
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

int Scheduler::ActiveRows(int worker) const {
  const MutexLock lock(mutex_);
  return loops_[worker].rows;
}

// In order of arrival, which is the order in which they start.
std::vector<std::shared_ptr<ActiveGeneration>> Scheduler::NotStarted() const {
  std::vector<std::shared_ptr<ActiveGeneration>> waiting;
  for (const auto& [id, entry] : entries_) {
    if (entry.images_begun == 0) waiting.push_back(entry.generation);
  }
  return waiting;
}

int Scheduler::CountNotStarted() const {
  return static_cast<int>(std::count_if(entries_.begin(), entries_.end(), [](const auto& item) {
    return item.second.images_begun == 0;
  }));
}

void Scheduler::FillLoops() {
  while (!queue_.empty()) {
    const uint64_t id = queue_.front();
    Entry& entry = entries_.at(id);
    Loop* loop = LoopWithRoom(entry.row_cost);
    if (loop == nullptr) return;
    const GenerationRequest& request = entry.generation->request();
    auto image = std::make_unique<ActiveImage>();
    image->generation = entry.generation;
    image->index = entry.images_begun++;
    image->rows = NumRows(request.conditioning, request.plan->evaluations.front());
    loop->images.push_back(std::move(image));
    loop->rows += entry.row_cost;
    ++entry.images_active;
    queue_.pop_front();
    if (entry.images_begun < request.count) queue_.push_back(id);
    work_.NotifyAll();
  }
}

// Among loops of as many rows, one that no task shares: there a new image waits for no slice.
Scheduler::Loop* Scheduler::LoopWithRoom(int row_cost) {
  const auto least =
      std::min_element(loops_.begin(), loops_.end(), [](const Loop& a, const Loop& b) {
        return std::pair(a.rows, a.tasks.size()) < std::pair(b.rows, b.tasks.size());
      });
  return least->rows + row_cost <= options_.max_active_rows ? &*least : nullptr;
}

Scheduler::Loop* Scheduler::LoopOfTask(uint64_t task) {
  const auto found = std::find_if(loops_.begin(), loops_.end(),
                                  [&](const Loop& loop) { return loop.tasks.Contains(task); });
  return found == loops_.end() ? nullptr : &*found;
}

bool Scheduler::SliceIsDue(const Loop& loop) const {
  if (stopped_ || !loop.tasks.HasRunnable()) return false;
  return loop.images.empty() || loop.time.SliceIsDue();
}

void Scheduler::Sweep(Loop& loop, absl::Time now, Notices& notices) {
  for (auto& [id, entry] : entries_) {
    if (entry.end.ok() && entry.generation->request().deadline <= now) {
      entry.end =
          absl::DeadlineExceededError("the deadline passed before the images were finished");
    }
  }
  std::erase_if(queue_, [&](uint64_t id)
                            ABSL_NO_THREAD_SAFETY_ANALYSIS { return !entries_.at(id).end.ok(); });
  for (auto image = loop.images.begin(); image != loop.images.end();) {
    const auto next = std::next(image);
    if (!entries_.at((*image)->generation->id()).end.ok())
      notices.dropped.push_back(Unlink(loop, image));
    image = next;
  }
  for (auto entry = entries_.begin(); entry != entries_.end();) CollectIfOver(entry++, notices);
}

std::unique_ptr<ActiveImage> Scheduler::Unlink(
    Loop& loop, std::list<std::unique_ptr<ActiveImage>>::iterator image) {
  Entry& entry = entries_.at((*image)->generation->id());
  --entry.images_active;
  loop.rows -= entry.row_cost;
  std::unique_ptr<ActiveImage> unlinked = std::move(*image);
  loop.images.erase(image);
  return unlinked;
}

void Scheduler::CollectIfOver(Entries::iterator entry, Notices& notices) {
  const bool all_begun = entry->second.images_begun == entry->second.generation->request().count;
  if (entry->second.images_active > 0 || (entry->second.end.ok() && !all_begun)) return;
  std::erase(queue_, entry->first);
  notices.over.push_back(std::move(entry->second));
  entries_.erase(entry);
  ++untold_;
}

// The image that has waited longest decides which networks run.
Batch Scheduler::TakeBatch(Loop& loop) const {
  Batch batch;
  const NetworkReplicas* networks = loop.images.front()->generation->request().networks.get();
  std::list<std::unique_ptr<ActiveImage>> taken;
  for (auto image = loop.images.begin(); image != loop.images.end();) {
    const auto next = std::next(image);
    if ((*image)->generation->request().networks.get() == networks &&
        batch.rows + (*image)->rows <= options_.max_batch_rows) {
      batch.rows += (*image)->rows;
      batch.rows_saved += FullRows((*image)->generation->request().conditioning) - (*image)->rows;
      batch.images.push_back(image->get());
      taken.splice(taken.end(), loop.images, image);
    }
    image = next;
  }
  loop.images.splice(loop.images.end(), taken);
  return batch;
}

void Scheduler::Tell(Notices& notices) {
  notices.dropped.clear();  // frees the rows before anybody hears of it
  for (const Entry& entry : notices.over) entry.generation->Finish(entry.end);
  for (size_t position = 0; position < notices.queued.size(); ++position) {
    notices.queued[position]->Queued(static_cast<int>(position));
  }
  if (notices.over.empty()) return;
  const MutexLock lock(mutex_);
  untold_ -= static_cast<int>(notices.over.size());
  idle_.NotifyAll();
}

}  // namespace denoise
