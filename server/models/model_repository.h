// The models that are being served, by id.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "core/base/mutex.h"
#include "server/models/model.h"

namespace denoise {

// Models may be added and replaced while requests run: a request keeps the handle that it found,
// and finishes with that model. Thread-safe.
class ModelRepository {
 public:
  // Called with the number of models at the start and after each change, in order. It must neither
  // block nor call the repository.
  using SizeListener = std::function<void(size_t)>;

  explicit ModelRepository(std::vector<ModelHandle> models = {}, SizeListener on_size = nullptr);

  // Adds a model, or replaces the one that has its id. The weights of that one are freed with its
  // last handle.
  void Publish(ModelHandle model) ABSL_LOCKS_EXCLUDED(mutex_);

  // Null where there is none.
  ModelHandle Find(std::string_view id) const ABSL_LOCKS_EXCLUDED(mutex_);

  // At most `limit` models whose id comes after `id`, in order; from the start where `id` is empty.
  std::vector<ModelHandle> ListAfter(std::string_view id, size_t limit) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  size_t size() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  const SizeListener on_size_;  // may be null

  mutable Mutex mutex_;
  std::map<std::string, ModelHandle, std::less<>> models_ ABSL_GUARDED_BY(mutex_);  // by id
};

}  // namespace denoise
