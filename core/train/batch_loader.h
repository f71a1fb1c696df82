// Batches from a data set, prefetched by threads.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "core/data/data_set.h"
#include "core/train/picture_prefetcher.h"
#include "core/train/trainer.h"
#include "core/train/training_options.h"
#include "core/train/training_pictures.h"

namespace denoise {

struct BatchLoaderOptions {
  TrainingPictures::Shape shape;  // of the network's input
  int batch_size = 1;
  AugmentationOptions augmentation;
  uint64_t seed = 0;
  std::optional<int64_t> rolled_back_to;       // see Trainer::Setup
  int threads = 1;                             // to read and decode with
  int64_t cache_bytes = int64_t{1} << 30;      // of decoded pictures, kept if all of them fit
  int64_t prefetch_bytes = int64_t{64} << 20;  // of pictures waiting to be taken
};

// Each epoch shows every picture once, in its own order; batches may span epochs. Which picture a
// row holds and how it is cropped and flipped is a function of (seed, step, row). After a roll-back
// the pictures stay the same and are cropped and flipped differently.
class BatchLoader : public BatchSource {
 public:
  // InvalidArgument: the data set has no pictures. `options` are valid.
  static absl::StatusOr<std::unique_ptr<BatchLoader>> Create(
      std::shared_ptr<const DataSet> data_set, const BatchLoaderOptions& options);

  absl::StatusOr<TrainingRows> Rows(int64_t step, int first, int count) override;
  int64_t pictures() const override { return pictures_.data_set().size(); }

 private:
  BatchLoader(std::shared_ptr<const DataSet> data_set, const BatchLoaderOptions& options);

  // Positions count the rows of all steps.
  int64_t PictureOf(int64_t position) const;
  absl::StatusOr<Image> Make(int64_t position);

  const BatchLoaderOptions options_;
  TrainingPictures pictures_;     // at the size that windows are cropped from
  PicturePrefetcher prefetcher_;  // last, because its threads use the members above
};

}  // namespace denoise
