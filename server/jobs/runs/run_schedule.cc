#include "server/jobs/runs/run_schedule.h"

#include <algorithm>

namespace denoise {
namespace {

constexpr int64_t kReportsPerJob = 500;   // roughly, at least
constexpr int64_t kMaxStepsBetween = 20;  // so that watchers of slow jobs see something happen

bool IsDue(int64_t every, int64_t step, bool last) {
  return every > 0 && step > 0 && (last || step % every == 0);
}

}  // namespace

Due RunSchedule::At(int64_t step, bool last) const {
  return {.progress = IsDue(progress_every, step, last),
          .grid = IsDue(grid_every, step, last),
          .evaluation = IsDue(evaluation_every, step, last),
          .checkpoint = IsDue(checkpoint_every, step, last)};
}

RunSchedule ScheduleOf(const denoised::v1::TrainingSettings& settings) {
  return {.progress_every =
              std::clamp(settings.max_steps() / kReportsPerJob, int64_t{1}, kMaxStepsBetween),
          .grid_every = settings.samples().every_n_steps(),
          .evaluation_every = settings.evaluations().every_n_steps(),
          .checkpoint_every = settings.checkpoints().every_n_steps()};
}

}  // namespace denoise
