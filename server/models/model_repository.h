// The models that are being served, by id: those in memory, those on disk only, and those that do
// not load.
//
// Requests read it; LiveModels (live_models.h) fills it and loads what is wanted. It touches no
// disk and has no thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "server/models/model.h"

namespace denoise {

enum class LoadState { kLoaded, kLoading, kUnloaded, kFailed };

// What is known of one model. `model` is null where its files have never been readable.
struct ModelStatus {
  std::string id;  // of a folder that fails, its name, which need not be an id
  LoadState state;
  ModelHandle model;
  absl::Status error;  // of its files, also while an older version is served
};

struct ModelCounts {
  int loaded = 0;
  int failed = 0;
  int64_t loaded_bytes = 0;  // of the weights of loaded models, on each device
};

// Someone who needs a model that is not loaded yet. Thread-safe.
class ModelWait {
 public:
  explicit ModelWait(std::function<void()> wake) : wake_(std::move(wake)) {}

  // The model, loaded, or why it does not load; nullopt until that is known.
  std::optional<absl::StatusOr<ModelHandle>> result() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Once, before the wake.
  void End(absl::StatusOr<ModelHandle> result) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  const std::function<void()> wake_;
  mutable Mutex mutex_;
  std::optional<absl::StatusOr<ModelHandle>> result_ ABSL_GUARDED_BY(mutex_);
};

// Models may come, change and go while requests run: a request keeps the handle that it found, and
// finishes with that model. "emoji" also finds the highest version of emoji that has not failed,
// where no folder has just that name. Thread-safe.
class ModelRepository {
 public:
  // Called with the counts at the start and after each change, in order. It must neither block nor
  // call the repository.
  using CountListener = std::function<void(const ModelCounts&)>;

  // A change of a model; a removed one if `status` is nullopt.
  struct Change {
    std::string id;
    std::optional<ModelStatus> status;
  };
  class Watcher;

  explicit ModelRepository(std::vector<ModelHandle> models = {}, CountListener on_counts = nullptr);

  // For requests.

  // The model, loaded or not, which counts as a use of it. NotFound; FailedPrecondition if it does
  // not load.
  absl::StatusOr<ModelHandle> Find(std::string_view id) const ABSL_LOCKS_EXCLUDED(mutex_);

  // Wants the model to be loaded. `wake` is called once the result is there, by any thread; the
  // wish ends with the object. Errors: those of Find; Unavailable where too many wait.
  absl::StatusOr<std::shared_ptr<ModelWait>> WaitFor(std::string_view id,
                                                     std::function<void()> wake)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // NotFound.
  absl::StatusOr<ModelStatus> Status(std::string_view id) const ABSL_LOCKS_EXCLUDED(mutex_);

  // At most `limit` models whose id comes after `id`, in order; from the start where `id` is empty.
  std::vector<ModelStatus> ListAfter(std::string_view id, size_t limit, bool with_failed) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Calls `wake` after each change, until the watcher is destroyed. It must neither block nor call
  // the repository; nor must those of WaitFor.
  std::unique_ptr<Watcher> Watch(std::function<void()> wake) ABSL_LOCKS_EXCLUDED(mutex_);

  // For the loader.

  // Adds or replaces a model. If its weights are in memory, whoever waits for it has it.
  void Publish(ModelHandle model) ABSL_LOCKS_EXCLUDED(mutex_);
  // The files of `id` do not load. A loaded model goes on being served; `id` is also the name of a
  // folder that can be no model.
  void Fail(const std::string& id, absl::Status error) ABSL_LOCKS_EXCLUDED(mutex_);
  void Remove(const std::string& id) ABSL_LOCKS_EXCLUDED(mutex_);
  // Lets go of a model's weights; it stays known. False if they are not in memory.
  bool Unload(const std::string& id) ABSL_LOCKS_EXCLUDED(mutex_);
  // Unloads the model whose last use is longest ago, other than `kept`; its id, or nullopt if there
  // is none.
  std::optional<std::string> UnloadLeastRecentlyUsed(std::string_view kept)
      ABSL_LOCKS_EXCLUDED(mutex_);
  ModelCounts counts() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Waits until `deadline` for a model that somebody waits for, which is then the caller's to
  // publish or to fail. nullopt at the deadline, and after Stop.
  std::optional<std::string> NextWanted(const Clock& clock, absl::Time deadline)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Nobody loads any more: ends all waits with Unavailable, now and later.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);
  bool stopped() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Entry {
    ModelHandle model;
    absl::Status error;
    std::vector<std::weak_ptr<ModelWait>> waits;
    int64_t change = 0;            // the number of its last one
    mutable int64_t last_use = 0;  // likewise
  };
  using Entries = std::map<std::string, Entry, ModelIdLess>;

  static bool IsLoaded(const Entry& entry);
  ModelHandle LetGo(Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static ModelStatus StatusOf(const std::string& id, const Entry& entry);
  Entries::const_iterator Resolve(std::string_view id) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<Entries::const_iterator> Use(std::string_view id) const
      ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  void Changed(Entry* entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  ModelCounts Count() const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  bool IsFull() const ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  const CountListener on_counts_;  // may be null

  mutable Mutex mutex_;
  CondVar wanted_;
  Entries entries_ ABSL_GUARDED_BY(mutex_);
  std::map<const Watcher*, std::function<void()>> watchers_ ABSL_GUARDED_BY(mutex_);
  mutable int64_t uses_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t changes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

// Tells each model once, and again after it has changed; the newest state only. Used by one thread
// at a time; outlived by the repository.
class ModelRepository::Watcher {
 public:
  ~Watcher();
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

  // nullopt while there is nothing new.
  std::optional<Change> Next() ABSL_LOCKS_EXCLUDED(repository_->mutex_);

 private:
  friend class ModelRepository;
  explicit Watcher(ModelRepository* repository) : repository_(repository) {}

  ModelRepository* const repository_;
  std::map<std::string, int64_t, ModelIdLess> told_;  // the number of the last change, by id
};

}  // namespace denoise
