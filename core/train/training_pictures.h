// The pictures of a data set as training uses them: without alpha and of one size.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/mutex.h"
#include "core/data/data_set.h"
#include "core/image/image.h"

namespace denoise {

// Thread-safe.
class TrainingPictures {
 public:
  struct Shape {
    int channels = 3;  // 1 or 3
    int height = 0;
    int width = 0;

    int64_t bytes() const { return int64_t{channels} * height * width; }
  };

  // Caches what it has read if the whole data set at this shape fits in `cache_bytes`.
  TrainingPictures(std::shared_ptr<const DataSet> data_set, const Shape& shape,
                   int64_t cache_bytes);

  // Picture i in [0, size()), cropped to the centre and resized. Errors name the picture.
  absl::StatusOr<std::shared_ptr<const Image>> Get(int64_t i);

  const DataSet& data_set() const { return *data_set_; }

 private:
  std::shared_ptr<const Image> Cached(int64_t i);
  absl::StatusOr<std::shared_ptr<const Image>> Read(int64_t i) const;

  const std::shared_ptr<const DataSet> data_set_;
  const Shape shape_;

  Mutex mutex_;
  // By picture, null if not read yet. Empty if nothing is cached.
  std::vector<std::shared_ptr<const Image>> cache_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace denoise
