#include "server/models/model_repository.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error_details.h"
#include "core/base/retry.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

// Calls that wait for models to be loaded, over all models.
constexpr size_t kMaxWaits = 256;
constexpr absl::Duration kRetryDelay = absl::Seconds(5);

absl::Status DoesNotLoad(const std::string& id, const absl::Status& error) {
  return absl::FailedPreconditionError(
      absl::StrCat(ModelName(id), " does not load: ", error.message()));
}

using Waits = std::vector<std::weak_ptr<ModelWait>>;

bool IsWanted(const Waits& waits) {
  return std::any_of(waits.begin(), waits.end(), [](const auto& wait) { return !wait.expired(); });
}

void EndAll(Waits& waits, const absl::StatusOr<ModelHandle>& result) {
  for (const auto& waiting : std::exchange(waits, {})) {
    if (const auto wait = waiting.lock()) wait->End(result);
  }
}

}  // namespace

std::optional<absl::StatusOr<ModelHandle>> ModelWait::result() const {
  const MutexLock lock(mutex_);
  return result_;
}

void ModelWait::End(absl::StatusOr<ModelHandle> result) {
  {
    const MutexLock lock(mutex_);
    result_ = std::move(result);
  }
  wake_();
}

ModelRepository::ModelRepository(std::vector<ModelHandle> models, CountListener on_counts)
    : on_counts_(std::move(on_counts)) {
  const MutexLock lock(mutex_);
  for (ModelHandle& model : models) {
    Entry& entry = entries_[model->id];
    entry.model = std::move(model);
    entry.change = ++changes_;
  }
  if (on_counts_) on_counts_(Count());
}

// The entry of that id or, where the id names no version, the highest that has not failed.
ModelRepository::Entries::const_iterator ModelRepository::Resolve(std::string_view id) const {
  auto found = entries_.find(id);
  if (found != entries_.end() || SplitModelId(id).second != 0) return found;
  for (auto it = entries_.lower_bound(id);
       it != entries_.end() && SplitModelId(it->first).first == id; ++it) {
    if (it->second.model || found == entries_.end()) found = it;
  }
  return found;
}

absl::StatusOr<ModelRepository::Entries::const_iterator> ModelRepository::Use(
    std::string_view id) const {
  const auto found = Resolve(id);
  if (found == entries_.end()) return ResourceNotFound("model", ModelName(id));
  if (!found->second.model) return DoesNotLoad(found->first, found->second.error);
  found->second.last_use = ++uses_;
  return found;
}

absl::StatusOr<ModelHandle> ModelRepository::Find(std::string_view id) const {
  const MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(const auto found, Use(id));
  return found->second.model;
}

absl::StatusOr<std::shared_ptr<ModelWait>> ModelRepository::WaitFor(std::string_view id,
                                                                    std::function<void()> wake) {
  const MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(const auto used, Use(id));
  Entry& entry = entries_.find(used->first)->second;
  auto wait = std::make_shared<ModelWait>(std::move(wake));
  if (entry.model->is_loaded()) {
    wait->End(entry.model);
    return wait;
  }
  if (stopped_) return DrainingError();
  if (IsFull()) {
    return UnavailableRetryAfter("too many calls wait for models to be loaded", kRetryDelay);
  }
  const bool was_wanted = IsWanted(entry.waits);
  std::erase_if(entry.waits, [](const auto& waiting) { return waiting.expired(); });
  entry.waits.push_back(wait);
  if (!was_wanted) Changed(&entry);
  wanted_.NotifyAll();
  return wait;
}

absl::StatusOr<ModelStatus> ModelRepository::Status(std::string_view id) const {
  const MutexLock lock(mutex_);
  const auto found = Resolve(id);
  if (found == entries_.end()) return ResourceNotFound("model", ModelName(id));
  return StatusOf(found->first, found->second);
}

std::vector<ModelStatus> ModelRepository::ListAfter(std::string_view id, size_t limit,
                                                    bool with_failed) const {
  const MutexLock lock(mutex_);
  std::vector<ModelStatus> models;
  for (auto it = entries_.upper_bound(id); it != entries_.end() && models.size() < limit; ++it) {
    if (with_failed || it->second.model) models.push_back(StatusOf(it->first, it->second));
  }
  return models;
}

std::unique_ptr<ModelRepository::Watcher> ModelRepository::Watch(std::function<void()> wake) {
  std::unique_ptr<Watcher> watcher(new Watcher(this));
  const MutexLock lock(mutex_);
  watchers_.emplace(watcher.get(), std::move(wake));
  return watcher;
}

void ModelRepository::Publish(ModelHandle model) {
  ModelHandle old;  // freed without the lock
  const MutexLock lock(mutex_);
  Entry& entry = entries_[model->id];
  old = std::exchange(entry.model, std::move(model));
  entry.error = absl::OkStatus();
  if (entry.model->is_loaded()) {
    entry.last_use = ++uses_;
    EndAll(entry.waits, entry.model);
  }
  Changed(&entry);
}

void ModelRepository::Fail(const std::string& id, absl::Status error) {
  const MutexLock lock(mutex_);
  Entry& entry = entries_[id];
  if (entry.model && !entry.model->is_loaded()) entry.model = nullptr;
  entry.error = std::move(error);
  EndAll(entry.waits, DoesNotLoad(id, entry.error));
  Changed(&entry);
}

void ModelRepository::Remove(const std::string& id) {
  ModelHandle old;
  const MutexLock lock(mutex_);
  const auto found = entries_.find(id);
  if (found == entries_.end()) return;
  EndAll(found->second.waits, ResourceNotFound("model", ModelName(id)));
  old = std::move(found->second.model);
  entries_.erase(found);
  Changed(nullptr);
}

bool ModelRepository::Unload(const std::string& id) {
  ModelHandle old;
  const MutexLock lock(mutex_);
  const auto found = entries_.find(id);
  if (found == entries_.end() || !IsLoaded(found->second)) return false;
  old = LetGo(found->second);
  return true;
}

std::optional<std::string> ModelRepository::UnloadLeastRecentlyUsed(std::string_view kept) {
  ModelHandle old;
  const MutexLock lock(mutex_);
  auto oldest = entries_.end();
  for (auto it = entries_.begin(); it != entries_.end(); ++it) {
    if (it->first == kept || !IsLoaded(it->second)) continue;
    if (oldest == entries_.end() || it->second.last_use < oldest->second.last_use) oldest = it;
  }
  if (oldest == entries_.end()) return std::nullopt;
  old = LetGo(oldest->second);
  return oldest->first;
}

bool ModelRepository::IsLoaded(const Entry& entry) {
  return entry.model && entry.model->is_loaded();
}

// Files that do not load have nothing to go back to.
ModelHandle ModelRepository::LetGo(Entry& entry) {
  ModelHandle old = entry.model;
  entry.model = entry.error.ok() ? WithoutWeights(*old) : nullptr;
  Changed(&entry);
  return old;
}

ModelCounts ModelRepository::counts() const {
  const MutexLock lock(mutex_);
  return Count();
}

std::optional<std::string> ModelRepository::NextWanted(const Clock& clock, absl::Time deadline) {
  const MutexLock lock(mutex_);
  while (!stopped_) {
    for (const auto& [id, entry] : entries_) {
      if (IsWanted(entry.waits)) return id;
    }
    if (clock.Now() >= deadline) return std::nullopt;
    clock.WaitUntil(wanted_, mutex_, deadline);
  }
  return std::nullopt;
}

void ModelRepository::Stop() {
  const MutexLock lock(mutex_);
  stopped_ = true;
  for (auto& [id, entry] : entries_) EndAll(entry.waits, DrainingError());
  wanted_.NotifyAll();
}

bool ModelRepository::stopped() const {
  const MutexLock lock(mutex_);
  return stopped_;
}

ModelStatus ModelRepository::StatusOf(const std::string& id, const Entry& entry) {
  const LoadState state = !entry.model            ? LoadState::kFailed
                          : IsLoaded(entry)       ? LoadState::kLoaded
                          : IsWanted(entry.waits) ? LoadState::kLoading
                                                  : LoadState::kUnloaded;
  return {id, state, entry.model, entry.error};
}

// `entry` is null where one was removed.
void ModelRepository::Changed(Entry* entry) {
  ++changes_;
  if (entry != nullptr) entry->change = changes_;
  if (on_counts_) on_counts_(Count());
  for (const auto& [watcher, wake] : watchers_) wake();
}

ModelCounts ModelRepository::Count() const {
  ModelCounts counts;
  for (const auto& [id, entry] : entries_) {
    if (!entry.error.ok()) ++counts.failed;
    if (!IsLoaded(entry)) continue;
    ++counts.loaded;
    counts.loaded_bytes += entry.model->memory_bytes;
  }
  return counts;
}

bool ModelRepository::IsFull() const {
  size_t waits = 0;
  for (const auto& [id, entry] : entries_) {
    waits +=
        static_cast<size_t>(std::count_if(entry.waits.begin(), entry.waits.end(),
                                          [](const auto& waiting) { return !waiting.expired(); }));
  }
  return waits >= kMaxWaits;
}

ModelRepository::Watcher::~Watcher() {
  const MutexLock lock(repository_->mutex_);
  repository_->watchers_.erase(this);
}

std::optional<ModelRepository::Change> ModelRepository::Watcher::Next() {
  const MutexLock lock(repository_->mutex_);
  for (const auto& [id, entry] : repository_->entries_) {
    int64_t& told = told_[id];
    if (told == entry.change) continue;
    told = entry.change;
    return Change{id, StatusOf(id, entry)};
  }
  for (auto it = told_.begin(); it != told_.end(); ++it) {
    if (repository_->entries_.contains(it->first)) continue;
    Change change{it->first, std::nullopt};
    told_.erase(it);
    return change;
  }
  return std::nullopt;
}

}  // namespace denoise
