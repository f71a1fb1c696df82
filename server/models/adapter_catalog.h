// Which adapters there are, and what their files say: those in a folder that all models share, and
// those in the folder `loras` beside a model's parts.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "core/base/mutex.h"
#include "core/io/safetensors.h"
#include "core/pipeline/adapter_plan.h"
#include "server/models/adapter_id.h"
#include "server/models/model.h"

namespace denoise {

// The file of an adapter as it was at a time.
struct AdapterFile {
  AdapterId id;  // with a model where it lies beside one
  std::filesystem::path path;
  std::string stamp;  // differs once the file has been written to or replaced
};

// What a list says of an adapter.
struct AdapterInfo {
  AdapterId id;
  AdapterSummary summary;
  int64_t file_bytes = 0;
  std::vector<std::string> models;  // the ids of those that it fits
};

// Thread-safe. Its methods wait for the disk, and read headers only. What a file says is remembered
// until the file changes.
class AdapterCatalog {
 public:
  // `models` is the folder of all models, `adapters` that of adapters; empty: there is none.
  AdapterCatalog(std::filesystem::path models, std::filesystem::path adapters);

  // The adapter that a request to `model` means by `id`: of those without a model, the one beside
  // the model comes first. InvalidArgument, in words that follow the adapter's name: there is none.
  absl::StatusOr<AdapterFile> Find(const Model& model, const AdapterId& id) const;

  // The number of parameters of `file`, whose tensors all belong to `model`, which takes adapters.
  // In words that follow the adapter's name: InvalidArgument where they do not, or the file is
  // broken; an error that is not IsOfTheAdapter where there is no memory for its header now.
  absl::StatusOr<int64_t> CountParameters(const AdapterFile& file, const Model& model)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // The files of all adapters, in the order of their names: the shared ones and those beside
  // `models`. NotFound: a folder cannot be read.
  absl::StatusOr<std::vector<AdapterFile>> List(const std::vector<ModelHandle>& models) const;

  // What `file` says, and which of `models` it fits.
  AdapterInfo Describe(const AdapterFile& file, const std::vector<ModelHandle>& models)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // What is known of a file for models whose layers have the same shapes: the number of parameters,
  // or why it does not fit.
  using Fits = std::map<std::string, absl::StatusOr<int64_t>>;  // by the target's signature
  struct Indexed {
    std::string stamp;
    AdapterSummary summary;
    int64_t file_bytes = 0;
    Fits fits;
  };

  // Reads what `indexed` lacks. An error that is the file's own is remembered in it.
  static absl::StatusOr<int64_t> CountOf(const AdapterFile& file, const Model& model,
                                         Indexed& indexed);
  static absl::StatusOr<SafetensorsFile> Summarized(const AdapterFile& file, Indexed& indexed);
  Indexed Known(const AdapterFile& file) const ABSL_LOCKS_EXCLUDED(mutex_);
  void Remember(const AdapterFile& file, Indexed indexed) ABSL_LOCKS_EXCLUDED(mutex_);

  const std::filesystem::path models_;
  const std::filesystem::path adapters_;
  mutable Mutex mutex_;
  std::map<std::string, Indexed> index_ ABSL_GUARDED_BY(mutex_);  // by path
};

// Whether `error` is the file's own, and not a moment's lack of memory, descriptors or network.
bool IsOfTheAdapter(const absl::Status& error);

}  // namespace denoise
