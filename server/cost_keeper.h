// Measures what evaluations of models cost when they are served, and keeps it in a file, so that the
// next server knows it from the start.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "core/base/mutex.h"
#include "server/engine/engine.h"
#include "server/models/model.h"

namespace denoise {

// Thread-safe.
class CostKeeper {
 public:
  // `file` may be empty: then nothing is kept. What was measured on another kind of `device`, such
  // as "cpu, 8 threads, float32", is left alone. `engine` lives until Stop.
  CostKeeper(std::filesystem::path file, std::string device, Engine* engine);

  // Reads the file. It need not exist; InvalidArgument where it is not one of these files, which is
  // no reason not to serve. Save leaves it alone then.
  absl::Status Load() ABSL_LOCKS_EXCLUDED(mutex_);

  // The model is served from now on. What the file says holds until it has been measured.
  void OnServe(const LoadedModelHandle& loaded) ABSL_LOCKS_EXCLUDED(mutex_);

  // Leaves the engine alone from now on.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

  // Writes what the engine has measured of models that are in memory, beside what the file had.
  absl::Status Save() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // By device and the version of a model.
  using Costs = std::map<std::string, std::vector<EvaluationTime>>;

  absl::Status Read() ABSL_LOCKS_EXCLUDED(mutex_);
  std::string KeyOf(const Model& model) const;

  const std::filesystem::path file_;
  const std::string device_;

  Mutex mutex_;
  Engine* engine_ ABSL_GUARDED_BY(mutex_);  // null once stopped
  Costs costs_ ABSL_GUARDED_BY(mutex_);
  bool is_foreign_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<std::string, std::weak_ptr<const LoadedModel>> served_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace denoise
