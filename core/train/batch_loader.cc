#include "core/train/batch_loader.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <new>
#include <utility>
#include <vector>

#include "core/base/status_macros.h"
#include "core/train/step_random.h"

namespace denoise {
namespace {

TrainingPictures::Shape Scaled(const TrainingPictures::Shape& shape, double scale) {
  return {.channels = shape.channels,
          .height = static_cast<int>(std::lround(shape.height * scale)),
          .width = static_cast<int>(std::lround(shape.width * scale))};
}

int64_t PrefetchedPictures(const BatchLoaderOptions& options) {
  constexpr int64_t kSteps = 4;
  const int64_t fit = options.prefetch_bytes / options.shape.bytes();
  return std::clamp<int64_t>(fit, 1, kSteps * options.batch_size);
}

// In [0, spare].
int Offset(int spare, double unit) { return static_cast<int>(unit * (spare + 1)); }

// A random window of `shape`, mirrored or not.
Image Augment(const Image& picture, const BatchLoaderOptions& options, int64_t step, int64_t row) {
  const uint64_t seed = SeedOfStep(options.seed, step, options.rolled_back_to);
  const auto unit = [&](RandomPurpose purpose) { return RandomUnit(seed, purpose, step, row); };
  const TrainingPictures::Shape& shape = options.shape;
  Image window =
      Crop(picture, {.left = Offset(picture.width - shape.width, unit(RandomPurpose::kCropLeft)),
                     .top = Offset(picture.height - shape.height, unit(RandomPurpose::kCropTop)),
                     .width = shape.width,
                     .height = shape.height});
  const bool flips = options.augmentation.horizontal_flip && unit(RandomPurpose::kFlip) < 0.5;
  return flips ? FlipHorizontally(window) : window;
}

}  // namespace

absl::StatusOr<std::unique_ptr<BatchLoader>> BatchLoader::Create(
    std::shared_ptr<const DataSet> data_set, const BatchLoaderOptions& options) {
  if (data_set->size() == 0) return absl::InvalidArgumentError("the data set has no pictures");
  return std::unique_ptr<BatchLoader>(new BatchLoader(std::move(data_set), options));
}

BatchLoader::BatchLoader(std::shared_ptr<const DataSet> data_set, const BatchLoaderOptions& options)
    : options_(options),
      pictures_(std::move(data_set), Scaled(options.shape, options.augmentation.random_crop_scale),
                options.cache_bytes),
      prefetcher_([this](int64_t position) { return Make(position); }, options.threads,
                  PrefetchedPictures(options)) {}

int64_t BatchLoader::PictureOf(int64_t position) const {
  return PictureAt(position % pictures(), pictures(), options_.seed, position / pictures());
}

absl::StatusOr<Image> BatchLoader::Make(int64_t position) try {
  ASSIGN_OR_RETURN(const auto picture, pictures_.Get(PictureOf(position)));
  return Augment(*picture, options_, position / options_.batch_size + 1,
                 position % options_.batch_size);
} catch (const std::bad_alloc&) {
  return absl::ResourceExhaustedError("not enough memory to read a picture");
}

absl::StatusOr<TrainingRows> BatchLoader::Rows(int64_t step, int first, int count) {
  const TrainingPictures::Shape& shape = options_.shape;
  TrainingRows rows = {
      .x0 = at::empty({count, shape.channels, shape.height, shape.width}, at::kFloat),
      .class_labels = at::empty({count}, at::kLong)};
  float* pixels = rows.x0.data_ptr<float>();
  int64_t* labels = rows.class_labels.data_ptr<int64_t>();
  const int64_t begin = (step - 1) * options_.batch_size + first;
  for (int64_t position = begin; position < begin + count; ++position) {
    ASSIGN_OR_RETURN(const Image picture, prefetcher_.Take(position));
    const std::vector<float> sample = SampleFromImage(picture);
    pixels = std::copy(sample.begin(), sample.end(), pixels);
    *labels++ = pictures_.data_set().label(PictureOf(position));
  }
  return rows;
}

}  // namespace denoise
