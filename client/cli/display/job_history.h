// The state of a job as its events describe it, for a display.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/drawing/drawing.h"
#include "core/image/image.h"
#include "denoised/v1/training.pb.h"

namespace denoise {

// Bounded, whatever the server sends: of too many losses every other one is dropped, again and
// again. Not thread-safe.
class JobHistory {
 public:
  explicit JobHistory(const denoised::v1::TrainingJob& job);

  // Internal if a picture cannot be decoded.
  absl::Status Add(const denoised::v1::TrainingEvent& event);

  const std::vector<LossPoint>& losses() const { return losses_; }
  const std::optional<Image>& grid() const { return grid_; }  // the newest sample grid
  denoised::v1::TrainingJob::State state() const { return state_; }
  const std::string& state_reason() const { return state_reason_; }
  // What is left of the job at its pace so far, as the server says or, where it does not, since the
  // job last began to run. Nullopt before anything is known, and after the last step.
  std::optional<absl::Duration> time_left() const;

  // At most `width` columns, UTF-8, no newline:
  //   training ██████░░░░░░  500/2000 steps  loss 0.0432  12.3 images/s  2 min left
  std::string Line(int width) const;

 private:
  void AddLoss(const denoised::v1::TrainingProgress& progress);

  const bool evaluates_;  // an evaluation job
  const int64_t steps_total_;
  denoised::v1::TrainingJob::State state_;
  std::string state_reason_;
  denoised::v1::TrainingProgress progress_;
  // When the job last began to run, and the step that it was at.
  std::optional<absl::Time> began_;
  int64_t step_when_began_ = 0;
  absl::Time progress_time_;
  std::vector<LossPoint> losses_;
  int64_t loss_stride_ = 1;  // every loss_stride_-th loss is kept
  int64_t losses_seen_ = 0;
  std::optional<Image> grid_;
};

}  // namespace denoise
