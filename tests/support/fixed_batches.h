// Returns the same pictures in every training step, for benchmarks that must not read any.
#pragma once

#include <cstdint>
#include <utility>

#include "core/train/trainer.h"

namespace denoise {

class FixedBatches : public BatchSource {
 public:
  // Requires one batch of pictures.
  explicit FixedBatches(TrainingRows pictures) : pictures_(std::move(pictures)) {}

  absl::StatusOr<TrainingRows> Rows(int64_t, int first, int count) override {
    TrainingRows rows = {.x0 = pictures_.x0.narrow(0, first, count)};
    if (pictures_.class_labels.defined()) {
      rows.class_labels = pictures_.class_labels.narrow(0, first, count);
    }
    return rows;
  }
  int64_t pictures() const override { return pictures_.x0.size(0); }

 private:
  const TrainingRows pictures_;
};

}  // namespace denoise
