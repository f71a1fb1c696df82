// The adapters that requests may name: files in a folder that all models share, and files in the
// folder `loras` beside a model's parts.
//
// An adapter is read when a request names it, and stays in memory for the next one while there is
// room. A file that has been replaced is read again; requests that run keep what they began with.
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
#include "core/pipeline/adapter_plan.h"
#include "server/models/adapter_id.h"
#include "server/models/model.h"
#include "server/models/model_memory.h"

namespace denoise {

// What a list of adapters says of one.
struct AdapterInfo {
  AdapterId id;
  std::vector<std::string> models;  // the ids of those that it fits
  int64_t rank = 0;                 // the largest of its matrices
  int64_t num_parameters = 0;
  int64_t file_bytes = 0;
  std::string base_model;  // what the file says it was trained for; may be empty
  absl::Status error;      // why it cannot be used with any model
};

// Thread-safe. Its methods wait for the disk.
class AdapterLibrary {
 public:
  struct Options {
    std::filesystem::path models;    // the models' folder
    std::filesystem::path adapters;  // that of all adapters; empty: there is none
    int64_t memory_bytes_max = 0;    // of all adapters, copies on devices included; 0: no limit
    // What networks run on.
    std::vector<at::Device> devices = {at::Device(at::kCPU)};
    at::ScalarType dtype = at::kFloat;
    // May be null. An adapter was read, or could not be.
    std::function<void(bool ok)> on_load = nullptr;
    // May be null. The bytes of all adapters in memory. Must not block.
    std::function<void(int64_t bytes)> on_memory = nullptr;
  };

  explicit AdapterLibrary(Options options);

  // The adapter that a request to `model` means by `id`: of those without a model, the one beside
  // the model comes first. `model` takes adapters. InvalidArgument or NotFound, in words that follow
  // the adapter's name: there is no such adapter, its file is broken, it is for another model, or
  // it exceeds the limit. Unavailable while the adapters of other requests leave no room, or its file is being replaced.
  absl::StatusOr<std::shared_ptr<const Adapter>> Load(const Model& model, const AdapterId& id)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // All adapters, in the order of their names. `models` are those that they may fit.
  std::vector<AdapterInfo> List(const std::vector<ModelHandle>& models) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using AdapterHandle = std::shared_ptr<const Adapter>;

  // A file as it was at a time.
  struct Version {
    std::filesystem::path path;
    std::string stamp;  // differs once the file has been written to or replaced
  };
  // One file, for models whose layers have the same shapes.
  using Key = std::pair<std::string, std::string>;  // the path, and the target's signature
  struct Loaded {
    Key key;
    std::string stamp;
    AdapterHandle adapter;
  };
  // What is remembered of a file for lists.
  struct Indexed {
    std::string stamp;
    AdapterInfo info;
    std::map<std::string, bool> fits;  // by the target's signature
  };

  absl::StatusOr<Version> Find(const Model& model, const AdapterId& id) const;
  absl::StatusOr<AdapterHandle> LoadVersion(const Model& model, const Version& version)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<AdapterHandle> Read(const Model& model, const Version& version)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<ModelMemory::Reservation> Reserve(int64_t num_parameters)
      ABSL_LOCKS_EXCLUDED(mutex_);
  AdapterHandle FindLoaded(const Key& key, const std::string& stamp)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool DropLeastRecentlyUsed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ListFolder(const std::filesystem::path& folder, const std::string& model,
                  const std::vector<ModelHandle>& models, std::vector<AdapterInfo>& adapters,
                  std::set<std::string>& paths) ABSL_LOCKS_EXCLUDED(mutex_);
  AdapterInfo Describe(const Version& version, const std::vector<ModelHandle>& models)
      ABSL_LOCKS_EXCLUDED(mutex_);

  const Options options_;
  const std::shared_ptr<ModelMemory> memory_;
  Mutex mutex_;
  CondVar read_;                                                  // a file has been read
  std::list<Loaded> loaded_ ABSL_GUARDED_BY(mutex_);              // the most recently used first
  std::set<Key> reading_ ABSL_GUARDED_BY(mutex_);                 // by some call
  std::map<std::string, Indexed> index_ ABSL_GUARDED_BY(mutex_);  // by path
};

}  // namespace denoise
