#include "server/jobs/runs/run_schedule.h"

#include <gtest/gtest.h>

namespace denoise {
namespace {

TEST(RunSchedule, EverythingHasItsOwnSteps) {
  const RunSchedule schedule = {
      .progress_every = 2, .grid_every = 6, .evaluation_every = 0, .checkpoint_every = 3};

  EXPECT_EQ(schedule.At(0, false), Due());
  EXPECT_EQ(schedule.At(1, false), Due());
  EXPECT_EQ(schedule.At(2, false), (Due{.progress = true}));
  EXPECT_EQ(schedule.At(3, false), (Due{.checkpoint = true}));
  EXPECT_EQ(schedule.At(6, false), (Due{.progress = true, .grid = true, .checkpoint = true}));
}

TEST(RunSchedule, TheLastStepHasEverythingThatThereIsAtAll) {
  const RunSchedule schedule = {
      .progress_every = 20, .grid_every = 0, .evaluation_every = 1000, .checkpoint_every = 500};

  EXPECT_EQ(schedule.At(7, true), (Due{.progress = true, .evaluation = true, .checkpoint = true}));
  EXPECT_EQ(schedule.At(0, true), Due());
}

TEST(RunSchedule, LongJobsTellOfEvery20thStepAndShortOnesOfEach) {
  denoised::v1::TrainingSettings settings;
  settings.mutable_samples()->set_every_n_steps(100);
  settings.mutable_checkpoints()->set_every_n_steps(50);
  settings.set_max_steps(400);
  EXPECT_EQ(ScheduleOf(settings).progress_every, 1);
  settings.set_max_steps(2500);
  EXPECT_EQ(ScheduleOf(settings).progress_every, 5);
  settings.set_max_steps(1'000'000);
  EXPECT_EQ(ScheduleOf(settings).progress_every, 20);
  EXPECT_EQ(ScheduleOf(settings).grid_every, 100);
  EXPECT_EQ(ScheduleOf(settings).evaluation_every, 0);
  EXPECT_EQ(ScheduleOf(settings).checkpoint_every, 50);
}

}  // namespace
}  // namespace denoise
