// What a training run does between its steps. Depends on the step alone, so that a run that repeats
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

// Numbers of steps; 0 means never.
struct RunSchedule {
  int64_t progress_every = 1;
  int64_t grid_every = 0;
  int64_t evaluation_every = 0;
  int64_t checkpoint_every = 0;

  // What is due after `step` steps. After the last one it is everything that is ever due.
  Due At(int64_t step, bool last) const;
};

// The schedule of resolved settings. Progress is reported after every step of a short job, and
// after every 20th step of a long one.
RunSchedule ScheduleOf(const denoised::v1::TrainingSettings& settings);

}  // namespace denoise
