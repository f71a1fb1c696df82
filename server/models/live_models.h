// Keeps the served models in step with their folder, and their weights within a limit of memory.
//
// A thread looks at the folder from time to time. A folder whose files have changed, and have not
// between two looks, is loaded; one that is gone is no longer served; one that does not load is
// reported, and tried again when its files change. While there is room all models are in memory.
// When there is none, the model whose last use is longest ago gives way, and is loaded again for
// the next request. Requests that run keep the model that they began with, and the memory of a
// model counts until the last of them is done. The thread never waits for that: it serves who else
// can be served, and looks at the folder.
//
// The folder is looked at instead of being watched, because network file systems and mounted
// volumes announce no changes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "server/models/model_loader.h"
#include "server/models/model_repository.h"
#include "server/models/models_folder.h"

namespace denoise {

// Thread-safe. Calls that load wait for each other, and those that install or delete do. Only the
// latter wait for other processes that change the folder.
class LiveModels {
 public:
  struct Options {
    ModelLoadOptions load;
    int64_t memory_bytes_max = 0;                         // of weights on each device; 0: no limit
    absl::Duration look_interval = absl::ZeroDuration();  // zero: looks once, at the start
    // May be null. A model was loaded, or did not load; one was unloaded.
    // How long it took; nullopt: the model is broken.
    std::function<void(std::optional<absl::Duration> duration)> on_load = nullptr;
    std::function<void()> on_unload = nullptr;
    // May be null. Requests can use a model that has just been loaded. Must not block.
    std::function<void(const LoadedModelHandle&)> on_serve = nullptr;
    // May be null. The bytes of all weights in memory, also those that only running requests hold.
    // Must not block.
    std::function<void(int64_t bytes)> on_memory = nullptr;
  };
  // Whether the caller has given up.
  using IsCancelled = std::function<bool()>;

  // `models` and `clock` outlive it.
  LiveModels(ModelsFolder folder, Options options, ModelRepository* models, const Clock* clock);
  ~LiveModels();
  LiveModels(const LiveModels&) = delete;
  LiveModels& operator=(const LiveModels&) = delete;

  // Repairs what a crash has left in the folder, loads what it holds, and starts the thread. Errors
  // are those of ModelsFolder::List.
  absl::Status Start();
  // Loads nothing more, and ends all waits for it. Further calls fail with Unavailable.
  void Stop();
  // Stop, and waits until its thread calls no option any more.
  void StopAndWait();

  // Looks at the folder once. A folder that has changed since the last look is left for the next
  // one, unless `at_once`.
  absl::Status Look(bool at_once = false) ABSL_LOCKS_EXCLUDED(mutex_);

  // Returns once the model's newest files are in memory, which may have to wait for requests to let
  // go of other models. NotFound; FailedPrecondition where they do not load, or exceed the limit;
  // Cancelled.
  absl::Status Load(const std::string& id, const IsCancelled& is_cancelled = nullptr)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // NotFound.
  absl::StatusOr<ModelStatus> Unload(const std::string& id);
  // Errors are those of ModelsFolder::Delete, and Cancelled.
  absl::Status Delete(const std::string& id, const IsCancelled& is_cancelled = nullptr)
      ABSL_LOCKS_EXCLUDED(changing_, mutex_);

  // As ModelsFolder's, of a model as `description` says. What is installed is served once it has
  // been loaded and warmed up, which takes a while; where there is no room for it, it waits for
  // requests to let go of other models. Cancelled only while it waits.
  absl::StatusOr<ModelHandle> Install(const std::string& id, const ModelDescription& description,
                                      const ModelsFolder::Writer& write,
                                      const IsCancelled& is_cancelled = nullptr)
      ABSL_LOCKS_EXCLUDED(changing_, mutex_);
  absl::StatusOr<ParsedModel> Open(const std::string& id) const { return folder_.Open(id); }

 private:
  // What is known of a folder's files.
  struct Seen {
    // Those that are there now are being tried.
    static Seen Trying(std::string fingerprint) {
      return {.tried = fingerprint, .latest = std::move(fingerprint)};
    }

    std::string tried;                          // the fingerprint of those that were tried last
    std::string latest;                         // that of the last look
    absl::Time retry = absl::InfiniteFuture();  // when to try them again although they are the same
    int missing = 0;                            // looks since they were there
  };
  enum class Outcome {
    kDone,
    kNoMemory,  // until a request lets go of a model
    kNotYet,    // its files are changing
  };

  void Loop();
  absl::Time NextLook(absl::Time last_look) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<std::string> NewestOf(const std::string& id) const;
  Outcome LoadWanted(const std::string& id) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<Outcome> TryToLoad(const std::string& id, const ModelStatus& status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status LoadFolder(const std::string& id, const std::filesystem::path& folder,
                          const ModelStatus& status, ModelMemory::Reservation memory)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<Outcome> TryToLoadNewest(const std::string& id) ABSL_LOCKS_EXCLUDED(mutex_);
  void LookAt(const ModelEntry& entry, bool at_once) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Take(const std::string& id, const std::filesystem::path& folder)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Add(const ParsedPipeline& parsed, const ModelHandle& model)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Replace(const Model& older, const ParsedPipeline& parsed, const ModelHandle& model)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether it loads, where there is no room for it on the device. Not known where the host has
  // none either.
  absl::Status TryOnHost(const ParsedPipeline& parsed, const Model& model) const;
  absl::StatusOr<LoadedModelHandle> LoadParsed(const ParsedPipeline& parsed, ModelHandle model,
                                               ModelMemory::Reservation memory)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // As LoadParsed; where the device has no room, models that nobody uses are unloaded first.
  absl::StatusOr<LoadedModelHandle> LoadGivingWay(const ParsedPipeline& parsed,
                                                  const ModelHandle& model,
                                                  ModelMemory::Reservation memory)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Serve(LoadedModelHandle loaded);
  absl::Status CheckFits(int64_t bytes) const;
  std::optional<ModelMemory::Reservation> MakeRoom(const std::string& id, int64_t bytes);
  // Makes room for model `id`, if there is a model that nobody uses.
  bool UnloadIdle(const std::string& id);
  void OnFound(const Model& model, const std::string& why) const;
  void OnUnloaded(const std::string& id, const std::string& why);
  void Fail(const std::string& name, const absl::Status& error)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckGoesOn(const IsCancelled& is_cancelled) const;

  const ModelsFolder folder_;
  const Options options_;
  ModelRepository* const models_;
  const Clock* const clock_;
  const std::shared_ptr<ModelMemory> memory_;

  Mutex changing_;  // of installing and deleting, which may wait for other processes
  // Of loading, which takes a while, but waits neither for requests nor for other processes. Taken
  // after changing_.
  Mutex mutex_;
  std::map<std::string, Seen> seen_ ABSL_GUARDED_BY(mutex_);  // by id, or name where there is none
  std::string last_look_error_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace denoise
