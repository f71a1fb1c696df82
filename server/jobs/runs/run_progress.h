// The progress of a training run: how far it has come, and the losses of its last steps.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/train/trainer.h"
#include "denoised/v1/training.pb.h"

namespace denoise {

// What stays the same during a run.
struct RunFacts {
  int64_t max_steps = 0;
  int batch_size = 0;
  int64_t pictures = 0;  // in the data set
  absl::Duration max_duration = absl::InfiniteDuration();
};

// Sums over the steps since the last message, and the device time of all steps. Saved with each
// checkpoint, so that a run that resumes from there reports the same losses. Not thread-safe.
class RunProgress {
 public:
  explicit RunProgress(const RunFacts& facts) : facts_(facts) {}

  // Adds the time of a network call on the device.
  void AddTime(absl::Duration device_time) {
    sums_.device_seconds += absl::ToDoubleSeconds(device_time);
  }
  void AddStep(const StepReport& report);

  // Whether max_duration has been spent.
  bool TimeIsUp() const;

  // Returns the message and resets the sums. `now` is the time of the clock.
  denoised::v1::TrainingProgress Take(const StepReport& last, int64_t non_finite_steps,
                                      absl::Time now);

  // The sums as JSON, together with `trainer_state` (TrainingSnapshot::state).
  std::string Encode(std::string_view trainer_state) const;
  // Restores what Encode wrote, and returns the trainer's state. DataLoss where it is something
  // else.
  absl::StatusOr<std::string> Decode(std::string_view json);

 private:
  struct Sums {
    int64_t steps = 0;
    int64_t finite_steps = 0;  // those that have a loss
    double loss = 0;
    double simple_loss = 0;
    double vlb_loss = 0;
    double device_seconds = 0;

    bool operator==(const Sums&) const = default;
  };

  absl::Duration TimeLeft(int64_t step, absl::Time now) const;

  RunFacts facts_;
  Sums sums_;
  double device_seconds_before_ = 0;           // of the steps before those in sums_
  absl::Time since_ = absl::InfiniteFuture();  // the last message; infinite before the first
  int64_t steps_here_ = 0;                     // in sums_, done since then in this run
};

}  // namespace denoise
