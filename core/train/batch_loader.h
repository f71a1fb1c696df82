// Batches from a data set, read ahead by threads.
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
  TrainingPictures::Shape shape;  // of what the network is trained on
  int batch_size = 1;
  AugmentationOptions augmentation;
  uint64_t seed = 0;
  std::optional<int64_t> rolled_back_to;       // as of Trainer::Setup
  int threads = 1;                             // that read and decode
  int64_t cache_bytes = int64_t{1} << 30;      // of decoded pictures, kept if all of them fit
  int64_t prefetch_bytes = int64_t{64} << 20;  // of pictures that wait to be taken
};

// Each epoch shows every picture once, in an order of its own; batches run across the ends of epochs.
// Which picture is in a row, and how it is cropped and flipped, is a function of (seed, step, row); a
// roll-back crops and flips the same pictures anew.
class BatchLoader : public BatchSource {
 public:
  // InvalidArgument for a data set without pictures. `options` come from what was validated.
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
  TrainingPictures pictures_;     // at the size that windows are cut from
  PicturePrefetcher prefetcher_;  // last: its threads use all of the above
};

}  // namespace denoise
