#include "core/train/training_pictures.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"

namespace denoise {

TrainingPictures::TrainingPictures(std::shared_ptr<const DataSet> data_set, const Shape& shape,
                                   int64_t cache_bytes)
    : data_set_(std::move(data_set)), shape_(shape) {
  if (data_set_->size() <= cache_bytes / shape.bytes()) {
    cache_.resize(static_cast<size_t>(data_set_->size()));
  }
}

absl::StatusOr<std::shared_ptr<const Image>> TrainingPictures::Get(int64_t i) {
  DENOISE_DCHECK(i >= 0 && i < data_set_->size());
  if (auto cached = Cached(i)) return cached;
  auto picture = Read(i);
  if (!picture.ok()) {
    return absl::Status(picture.status().code(),
                        absl::StrCat(Quoted(data_set_->name(i)), ": ", picture.status().message()));
  }
  const MutexLock lock(mutex_);
  if (!cache_.empty()) cache_[static_cast<size_t>(i)] = *picture;
  return picture;
}

std::shared_ptr<const Image> TrainingPictures::Cached(int64_t i) {
  const MutexLock lock(mutex_);
  return cache_.empty() ? nullptr : cache_[static_cast<size_t>(i)];
}

absl::StatusOr<std::shared_ptr<const Image>> TrainingPictures::Read(int64_t i) const {
  ASSIGN_OR_RETURN(const Image picture, data_set_->Read(i));
  ASSIGN_OR_RETURN(Image resized,
                   CropAndResize(Flatten(picture, shape_.channels), shape_.width, shape_.height));
  return std::make_shared<const Image>(std::move(resized));
}

}  // namespace denoise
