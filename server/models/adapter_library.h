// The adapters in memory.
//
// An adapter is read when a request names it, and stays in memory for the next one while there is
// room. A file that has been replaced is read again; requests that hold the old one keep it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "core/base/mutex.h"
#include "core/nn/adapter.h"
#include "server/models/adapter_catalog.h"
#include "server/models/model.h"
#include "server/models/model_loader.h"
#include "server/models/model_memory.h"

namespace denoise {

struct LoadedAdapter {
  AdapterId id;
  std::string version;  // a hash of its file
  int64_t bytes = 0;    // that it takes, with its copies on devices
  std::shared_ptr<const Adapter> adapter;
};

// Thread-safe. Load waits for the disk.
class AdapterLibrary {
 public:
  struct Options {
    int64_t memory_bytes_max = 0;  // of all adapters, copies on devices included; 0: no limit
    ModelLoadOptions load = {};    // what models compute on and in
    // May be null. An adapter was read, or could not be.
    std::function<void(bool ok)> on_load = nullptr;
    // May be null. The bytes of all adapters in memory. Must not block.
    std::function<void(int64_t bytes)> on_memory = nullptr;
  };
  // Whether the caller has given up.
  using IsCancelled = std::function<bool()>;

  // `catalog` outlives it.
  AdapterLibrary(AdapterCatalog* catalog, Options options);

  AdapterCatalog& catalog() const { return *catalog_; }

  // The adapters of one request to `model`, which fit it (AdapterCatalog::CountParameters), in the
  // order of `files`. There is room for all of them before the first is read.
  //
  // InvalidArgument: together they exceed the limit. FailedPrecondition, naming the adapter: its
  // weights cannot be used. Unavailable: the adapters of other requests leave no room. Aborted: a
  // file has been replaced meanwhile; finding it again helps. Cancelled.
  absl::StatusOr<std::vector<LoadedAdapter>> Load(const Model& model,
                                                  const std::vector<AdapterFile>& files,
                                                  const IsCancelled& is_cancelled = nullptr)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // One version of a file, for models that compute in one dtype and have layers of the same shapes.
  struct Key {
    std::string path;
    std::string signature;
    at::ScalarType dtype = at::kFloat;
    std::string stamp;
    auto operator<=>(const Key&) const = default;
  };
  struct Wanted {
    const AdapterFile* file = nullptr;
    Key key;
    int64_t bytes = 0;
    LoadedAdapter loaded;             // its adapter is null: it is to be read
    ModelMemory::Reservation memory;  // for what is to be read
  };

  absl::StatusOr<int64_t> BytesOf(const AdapterFile& file, const Model& model) const;
  absl::Status Claim(std::vector<Wanted>& wanted, const IsCancelled& is_cancelled)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Reserve(std::vector<Wanted>& wanted) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Release(const std::vector<Key>& claimed) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status LoadClaimed(Wanted& wanted, const Model& model) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<LoadedAdapter> Read(Wanted& wanted, const Model& model) const;
  bool FindLoaded(Wanted& wanted) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Makes room for `bytes`; false, and nothing is dropped, where that is impossible now.
  bool MakeRoom(int64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  AdapterCatalog* const catalog_;
  const Options options_;
  const std::shared_ptr<ModelMemory> memory_;
  Mutex mutex_;
  CondVar read_;                                                             // a file has been read
  std::list<std::pair<Key, LoadedAdapter>> loaded_ ABSL_GUARDED_BY(mutex_);  // last used first
  std::set<Key> reading_ ABSL_GUARDED_BY(mutex_);                            // by some call
  // Why files cannot be used, so that asking again reads nothing.
  std::map<Key, absl::Status> refused_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace denoise
