// What a training run does between its steps, as a function of the step alone: a run that repeats
// steps does the same again.
#pragma once

#include <cstdint>

#include "denoised/v1/training.pb.h"

namespace denoise {

struct Due {
  bool progress = false;
  bool grid = false;
  bool evaluation = false;
  bool checkpoint = false;

  bool operator==(const Due&) const = default;
};

// 0: never.
struct RunSchedule {
  int64_t progress_every = 1;
  int64_t grid_every = 0;
  int64_t evaluation_every = 0;
  int64_t checkpoint_every = 0;

  // After `step` steps; the last one has everything that there is at all.
  Due At(int64_t step, bool last) const;
};

// Of resolved settings. Progress is told after every step of a short job and after every 20th of a long
// one.
RunSchedule ScheduleOf(const denoised::v1::TrainingSettings& settings);

}  // namespace denoise
