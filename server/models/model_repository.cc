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

// What callers may know of it; the loader's log has the rest.
absl::Status ForCallers(const absl::Status& error) {
  if (!WithholdsMessage(error)) return error;
  return absl::InternalError("an error inside the server, which its log describes");
}

}  // namespace

absl::Status DoesNotLoad(const std::string& id, const absl::Status& error) {
  return absl::FailedPreconditionError(
      absl::StrCat(ModelName(id), " does not load: ", error.message()));
}

// The part of a wait that the repository ends.
struct ModelWait::Shared {
  Shared(std::function<void()> on_result, int64_t wait_number)
      : wake(std::move(on_result)), number(wait_number) {}

  const std::function<void()> wake;
  const int64_t number;  // in order of arrival
  Mutex mutex;
  std::optional<absl::StatusOr<LoadedModelHandle>> result ABSL_GUARDED_BY(mutex);
};

ModelWait::ModelWait(ModelRepository* repository, std::string id, std::shared_ptr<Shared> shared)
    : repository_(repository), id_(std::move(id)), shared_(std::move(shared)) {}

ModelWait::~ModelWait() { repository_->EndNeed(id_, shared_); }

std::optional<absl::StatusOr<LoadedModelHandle>> ModelWait::result() const {
  const MutexLock lock(shared_->mutex);
  return shared_->result;
}

ModelRepository::ModelRepository(std::vector<LoadedModelHandle> models, CountListener on_counts)
    : on_counts_(std::move(on_counts)) {
  const MutexLock lock(mutex_);
  for (LoadedModelHandle& loaded : models) {
    const auto entry = entries_.try_emplace(loaded->model->id).first;
    entry->second.model = loaded->model;
    entry->second.loaded = std::move(loaded);
    entry->second.change = ++last_change_;
    changes_[last_change_] = entry->first;
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
  found->second.last_use = ++last_use_;
  return found;
}

absl::StatusOr<ModelHandle> ModelRepository::Find(std::string_view id) const {
  const MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(const auto found, Use(id));
  return found->second.model;
}

absl::StatusOr<std::unique_ptr<ModelWait>> ModelRepository::Acquire(std::string_view id,
                                                                    std::function<void()> wake) {
  const MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(const auto used, Use(id));
  const auto entry = entries_.find(used->first);
  const auto shared = std::make_shared<ModelWait::Shared>(std::move(wake), ++last_wait_);
  if (entry->second.loaded) {
    const MutexLock result_lock(shared->mutex);
    shared->result = entry->second.loaded;
  } else {
    if (stopped_) return DrainingError();
    if (CountWaits() >= kMaxWaits) {
      return UnavailableRetryAfter("too many calls wait for models to be loaded", kRetryDelay);
    }
    entry->second.waits.push_back(shared);
    if (entry->second.waits.size() == 1) Changed(entry);
    wanted_.NotifyAll();
  }
  return std::unique_ptr<ModelWait>(new ModelWait(this, entry->first, shared));
}

void ModelRepository::EndNeed(const std::string& id, const SharedWait& wait) {
  const MutexLock lock(mutex_);
  const auto entry = entries_.find(id);
  if (entry == entries_.end()) return;
  if (std::erase(entry->second.waits, wait) > 0 && entry->second.waits.empty()) Changed(entry);
}

absl::StatusOr<ModelStatus> ModelRepository::Status(std::string_view id) const {
  const MutexLock lock(mutex_);
  const auto found = Resolve(id);
  if (found == entries_.end()) return ResourceNotFound("model", ModelName(id));
  return StatusOf(found->first, found->second);
}

std::optional<ModelStatus> ModelRepository::StatusOfExactly(std::string_view id) const {
  const MutexLock lock(mutex_);
  const auto found = entries_.find(id);
  if (found == entries_.end()) return std::nullopt;
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
  const MutexLock lock(mutex_);
  std::unique_ptr<Watcher> watcher(new Watcher(this, last_change_));
  watchers_.emplace(watcher.get(), std::move(wake));
  return watcher;
}

// Weights are freed after the lock: that takes a while.

void ModelRepository::Publish(LoadedModelHandle loaded) {
  LoadedModelHandle old;
  const MutexLock lock(mutex_);
  const auto entry = entries_.try_emplace(loaded->model->id).first;
  entry->second.model = loaded->model;
  entry->second.error = absl::OkStatus();
  entry->second.last_use = ++last_use_;
  old = std::exchange(entry->second.loaded, std::move(loaded));
  End(entry->second, entry->second.loaded);
  Changed(entry);
}

void ModelRepository::Describe(ModelHandle model) {
  LoadedModelHandle old;
  const MutexLock lock(mutex_);
  const auto entry = entries_.try_emplace(model->id).first;
  Entry& known = entry->second;
  known.error = absl::OkStatus();
  if (!known.loaded || known.loaded->model->version != model->version) {
    known.model = std::move(model);
    old = std::exchange(known.loaded, nullptr);
  }
  Changed(entry);
  wanted_.NotifyAll();
}

void ModelRepository::Fail(const std::string& id, const absl::Status& error) {
  const MutexLock lock(mutex_);
  const auto entry = entries_.try_emplace(id).first;
  if (!entry->second.loaded) entry->second.model = nullptr;
  entry->second.error = ForCallers(error);
  End(entry->second, DoesNotLoad(id, entry->second.error));
  Changed(entry);
}

void ModelRepository::EndWaits(const std::string& id, const absl::Status& error) {
  const MutexLock lock(mutex_);
  const auto entry = entries_.find(id);
  if (entry == entries_.end() || entry->second.waits.empty()) return;
  End(entry->second, error);
  Changed(entry);
}

void ModelRepository::Remove(const std::string& id) {
  LoadedModelHandle old;
  const MutexLock lock(mutex_);
  const auto entry = entries_.find(id);
  if (entry == entries_.end()) return;
  End(entry->second, ResourceNotFound("model", ModelName(id)));
  old = std::move(entry->second.loaded);
  entries_.erase(entry);
  std::erase_if(changes_, [&](const auto& change) { return change.second == id; });
  ++last_change_;
  if (!watchers_.empty()) changes_[last_change_] = id;
  TellOfChange();
}

ModelRepository::Loading::Loading(ModelRepository* models, std::string id)
    : models_(models), id_(std::move(id)) {
  models_->AddLoading(id_, 1);
}

ModelRepository::Loading::~Loading() { models_->AddLoading(id_, -1); }

void ModelRepository::AddLoading(const std::string& id, int count) {
  const MutexLock lock(mutex_);
  const auto entry = entries_.find(id);
  const auto state = [&] {
    mutex_.AssertHeld();
    return StatusOf(id, entry->second).state;
  };
  const auto before = entry == entries_.end() ? std::nullopt : std::optional(state());
  if ((loading_[id] += count) == 0) loading_.erase(id);
  if (before && state() != *before) Changed(entry);
}

bool ModelRepository::Unload(const std::string& id) {
  LoadedModelHandle old;
  const MutexLock lock(mutex_);
  const auto entry = entries_.find(id);
  if (entry == entries_.end() || !entry->second.loaded) return false;
  old = LetGo(entry);
  return true;
}

std::optional<std::string> ModelRepository::UnloadLeastRecentlyUsed(Which which,
                                                                    std::string_view kept) {
  LoadedModelHandle old;
  const MutexLock lock(mutex_);
  // A model whose newest files are broken could not come back, and goes last.
  const auto rank = [](const Entry& entry) { return std::pair(!entry.error.ok(), entry.last_use); };
  auto oldest = entries_.end();
  for (auto it = entries_.begin(); it != entries_.end(); ++it) {
    const Entry& entry = it->second;
    if (it->first == kept || !entry.loaded) continue;
    if (which == Which::kIdle && entry.loaded.use_count() > 1) continue;
    if (oldest == entries_.end() || rank(entry) < rank(oldest->second)) oldest = it;
  }
  if (oldest == entries_.end()) return std::nullopt;
  old = LetGo(oldest);
  return oldest->first;
}

// Files that do not load have nothing to go back to.
LoadedModelHandle ModelRepository::LetGo(Entries::iterator entry) {
  if (!entry->second.error.ok()) entry->second.model = nullptr;
  LoadedModelHandle old = std::move(entry->second.loaded);
  entry->second.loaded = nullptr;
  Changed(entry);
  return old;
}

ModelCounts ModelRepository::counts() const {
  const MutexLock lock(mutex_);
  return Count();
}

std::optional<std::string> ModelRepository::NextWanted(const Clock& clock, absl::Time deadline,
                                                       const std::set<std::string>& postponed) {
  const MutexLock lock(mutex_);
  while (!stopped_) {
    auto next = entries_.end();
    for (auto it = entries_.begin(); it != entries_.end(); ++it) {
      if (it->second.waits.empty() || postponed.contains(it->first)) continue;
      if (next == entries_.end() ||
          it->second.waits.front()->number < next->second.waits.front()->number) {
        next = it;
      }
    }
    if (next != entries_.end()) return next->first;
    if (clock.Now() >= deadline) return std::nullopt;
    clock.WaitUntil(wanted_, mutex_, deadline);
  }
  return std::nullopt;
}

void ModelRepository::Stop() {
  const MutexLock lock(mutex_);
  stopped_ = true;
  for (auto& [id, entry] : entries_) End(entry, DrainingError());
  for (const auto& [watcher, wake] : watchers_) wake();
  wanted_.NotifyAll();
}

bool ModelRepository::stopped() const {
  const MutexLock lock(mutex_);
  return stopped_;
}

ModelStatus ModelRepository::StatusOf(const std::string& id, const Entry& entry) const {
  const bool is_wanted = !entry.waits.empty() || loading_.contains(id);
  const LoadState state = !entry.model   ? LoadState::kFailed
                          : entry.loaded ? LoadState::kLoaded
                          : is_wanted    ? LoadState::kLoading
                                         : LoadState::kUnloaded;
  return {id, state, entry.model, entry.error};
}

void ModelRepository::End(Entry& entry, const absl::StatusOr<LoadedModelHandle>& result) {
  for (const SharedWait& wait : std::exchange(entry.waits, {})) {
    {
      const MutexLock lock(wait->mutex);
      wait->result = result;
    }
    wait->wake();
  }
}

void ModelRepository::Changed(Entries::iterator entry) {
  changes_.erase(entry->second.change);
  entry->second.change = ++last_change_;
  changes_[last_change_] = entry->first;
  TellOfChange();
}

void ModelRepository::TellOfChange() {
  if (on_counts_) on_counts_(Count());
  for (const auto& [watcher, wake] : watchers_) wake();
}

ModelCounts ModelRepository::Count() const {
  ModelCounts counts;
  for (const auto& [id, entry] : entries_) {
    if (!entry.error.ok()) ++counts.failed;
    if (!entry.loaded) continue;
    ++counts.loaded;
    counts.loaded_bytes += entry.loaded->model->memory_bytes;
  }
  return counts;
}

size_t ModelRepository::CountWaits() const {
  size_t waits = 0;
  for (const auto& [id, entry] : entries_) waits += entry.waits.size();
  return waits;
}

ModelRepository::Watcher::~Watcher() {
  const MutexLock lock(repository_->mutex_);
  repository_->watchers_.erase(this);
  if (!repository_->watchers_.empty()) return;
  std::erase_if(repository_->changes_, [this](const auto& change) {
    repository_->mutex_.AssertHeld();
    return !repository_->entries_.contains(change.second);
  });
}

std::optional<ModelRepository::Watcher::Change> ModelRepository::Watcher::Next() {
  const MutexLock lock(repository_->mutex_);
  for (auto it = repository_->changes_.upper_bound(reported_); it != repository_->changes_.end();
       ++it) {
    reported_ = it->first;
    const auto entry = repository_->entries_.find(it->second);
    if (entry != repository_->entries_.end() && entry->second.change == it->first) {
      return Change{entry->first, repository_->StatusOf(entry->first, entry->second)};
    }
    // One that went before the watch began, or that has come back since, is no news.
    if (it->first <= start_ || entry != repository_->entries_.end()) continue;
    return Change{it->second, std::nullopt};
  }
  reported_ = std::max(reported_, repository_->last_change_);
  return std::nullopt;
}

bool ModelRepository::Watcher::complete() const {
  const MutexLock lock(repository_->mutex_);
  const auto next = repository_->changes_.upper_bound(reported_);
  return next == repository_->changes_.end() || next->first > start_;
}

}  // namespace denoise
