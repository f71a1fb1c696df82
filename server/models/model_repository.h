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
#include <set>
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

// What is known of one model.
struct ModelStatus {
  std::string id;  // of a folder that fails, its name, which need not be an id
  LoadState state;
  ModelHandle model;   // null if its files have never been readable, or are broken
  absl::Status error;  // of its newest files, also while an older version is served; for callers
};

// FailedPrecondition: what callers are told of a model whose files have the error `error`.
absl::Status DoesNotLoad(const std::string& id, const absl::Status& error);

struct ModelCounts {
  int loaded = 0;
  int failed = 0;
  int64_t loaded_bytes = 0;  // of the weights of loaded models, on each device
};

class ModelRepository;

// Someone who needs a model in memory. Once destroyed, that need is over. Outlived by the
// repository; used by one thread at a time.
class ModelWait {
 public:
  ~ModelWait();
  ModelWait(const ModelWait&) = delete;
  ModelWait& operator=(const ModelWait&) = delete;

  // The model, loaded, or why it does not load; nullopt until that is known.
  std::optional<absl::StatusOr<LoadedModelHandle>> result() const;

 private:
  friend class ModelRepository;
  struct Shared;
  ModelWait(ModelRepository* repository, std::string id, std::shared_ptr<Shared> shared);

  ModelRepository* const repository_;
  const std::string id_;
  const std::shared_ptr<Shared> shared_;
};

// Models may come, change and go while requests run: a request keeps the model that it has got, and
// finishes with it. "emoji" also finds the highest version of emoji that has not failed, where no
// folder has just that name. Thread-safe.
class ModelRepository {
 public:
  // Called with the counts at the start and after each change, in order. It must neither block nor
  // call the repository.
  using CountListener = std::function<void(const ModelCounts&)>;

  class Watcher;

  explicit ModelRepository(std::vector<LoadedModelHandle> models = {},
                           CountListener on_counts = nullptr);

  // For requests.

  // The model, loaded or not, which counts as a use of it. NotFound; FailedPrecondition if it does
  // not load.
  absl::StatusOr<ModelHandle> Find(std::string_view id) const ABSL_LOCKS_EXCLUDED(mutex_);

  // The model in memory, at once or once it has been loaded. `wake` is called when the result comes
  // later, by any thread; it must neither block nor call the repository. Errors: those of Find;
  // Unavailable where too many wait.
  absl::StatusOr<std::unique_ptr<ModelWait>> Acquire(std::string_view id,
                                                     std::function<void()> wake)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // NotFound.
  absl::StatusOr<ModelStatus> Status(std::string_view id) const ABSL_LOCKS_EXCLUDED(mutex_);
  // The same of exactly that id; nullopt if there is none.
  std::optional<ModelStatus> StatusOfExactly(std::string_view id) const ABSL_LOCKS_EXCLUDED(mutex_);

  // At most `limit` models whose id comes after `id`, in order; from the start where `id` is empty.
  std::vector<ModelStatus> ListAfter(std::string_view id, size_t limit, bool with_failed) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Calls `wake`, under the rules of Acquire, after each change and Stop, until the watcher is
  // destroyed.
  std::unique_ptr<Watcher> Watch(std::function<void()> wake) ABSL_LOCKS_EXCLUDED(mutex_);

  // For the loader.

  // Adds or replaces a model, which whoever waits for it gets.
  void Publish(LoadedModelHandle loaded) ABSL_LOCKS_EXCLUDED(mutex_);
  // Adds or replaces a model whose weights are on disk. If those of just this version are in
  // memory, they stay.
  void Describe(ModelHandle model) ABSL_LOCKS_EXCLUDED(mutex_);
  // The files of `id` do not load. A version in memory is served further. `id` is also the name of
  // a folder that can be no model.
  void Fail(const std::string& id, const absl::Status& error) ABSL_LOCKS_EXCLUDED(mutex_);
  // It cannot be loaded now, for no fault of its files: `error` is for those who wait.
  void EndWaits(const std::string& id, const absl::Status& error) ABSL_LOCKS_EXCLUDED(mutex_);
  void Remove(const std::string& id) ABSL_LOCKS_EXCLUDED(mutex_);

  // Somebody asks for the weights of `id`, which is shown as kLoading while they are not in memory
  // and it has not failed. Destroyed before the repository.
  class Loading {
   public:
    Loading(ModelRepository* models, std::string id);
    ~Loading();
    Loading(const Loading&) = delete;
    Loading& operator=(const Loading&) = delete;

   private:
    ModelRepository* const models_;
    const std::string id_;
  };

  // Lets go of a model's weights; it stays known. False if they are not in memory.
  bool Unload(const std::string& id) ABSL_LOCKS_EXCLUDED(mutex_);
  // Unloads the model whose last use is longest ago, of those that nobody uses now or of all; its
  // id, or nullopt if there is none but `kept`.
  enum class Which { kIdle, kAny };
  std::optional<std::string> UnloadLeastRecentlyUsed(Which which, std::string_view kept)
      ABSL_LOCKS_EXCLUDED(mutex_);
  ModelCounts counts() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Waits until `deadline` for a model that somebody waits for, other than those `postponed`. That
  // of the longest wait comes first. nullopt at the deadline, and after Stop.
  std::optional<std::string> NextWanted(const Clock& clock, absl::Time deadline,
                                        const std::set<std::string>& postponed = {})
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Nobody loads any more: ends all waits with Unavailable, now and later.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);
  bool stopped() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  friend class ModelWait;
  using SharedWait = std::shared_ptr<ModelWait::Shared>;

  struct Entry {
    ModelHandle model;         // null where it has failed
    LoadedModelHandle loaded;  // null where it is not in memory
    absl::Status error;
    std::vector<SharedWait> waits;  // the oldest first
    int64_t change = 0;             // the number of its last change
    mutable int64_t last_use = 0;   // the number of its last use
  };
  using Entries = std::map<std::string, Entry, ModelIdLess>;

  Entries::const_iterator Resolve(std::string_view id) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<Entries::const_iterator> Use(std::string_view id) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  ModelStatus StatusOf(const std::string& id, const Entry& entry) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AddLoading(const std::string& id, int count) ABSL_LOCKS_EXCLUDED(mutex_);
  static void End(Entry& entry, const absl::StatusOr<LoadedModelHandle>& result);
  LoadedModelHandle LetGo(Entries::iterator entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Changed(Entries::iterator entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TellOfChange() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  ModelCounts Count() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  size_t CountWaits() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndNeed(const std::string& id, const SharedWait& wait) ABSL_LOCKS_EXCLUDED(mutex_);

  const CountListener on_counts_;  // may be null

  mutable Mutex mutex_;
  CondVar wanted_;
  Entries entries_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, int> loading_ ABSL_GUARDED_BY(mutex_);  // how often each is asked for
  // The last change of each model, and of each that is gone while somebody watches, by number.
  std::map<int64_t, std::string> changes_ ABSL_GUARDED_BY(mutex_);
  std::map<const Watcher*, std::function<void()>> watchers_ ABSL_GUARDED_BY(mutex_);
  mutable int64_t last_use_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t last_change_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t last_wait_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

// Reports each model once, and again after it has changed: its newest state, in order of change.
// Used by one thread at a time; outlived by the repository.
class ModelRepository::Watcher {
 public:
  // A model that is gone if `status` is nullopt.
  struct Change {
    std::string id;
    std::optional<ModelStatus> status;
  };

  ~Watcher();
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

  // nullopt while there is nothing new.
  std::optional<Change> Next() ABSL_LOCKS_EXCLUDED(repository_->mutex_);
  // Whether it has reported all models that there were when it was made.
  bool complete() const ABSL_LOCKS_EXCLUDED(repository_->mutex_);

 private:
  friend class ModelRepository;
  Watcher(ModelRepository* repository, int64_t start) : repository_(repository), start_(start) {}

  ModelRepository* const repository_;
  const int64_t start_;   // the last change before it was made
  int64_t reported_ = 0;  // the last change that it has reported; guarded by the repository's mutex
};

}  // namespace denoise
