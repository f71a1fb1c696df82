// A training job while it runs: the trainer's slices, and what happens between steps.
//
// After each step it tells progress, makes a grid of samples, evaluates and saves, where that is due;
// each of these goes on in slices or on the recorder's thread, never in the way of generation.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/evaluation/model_evaluation.h"
#include "core/image/image.h"
#include "core/train/trainer.h"
#include "server/jobs/runs/picture_run.h"
#include "server/jobs/runs/run_progress.h"
#include "server/jobs/runs/run_schedule.h"
#include "server/jobs/runs/run_task.h"

namespace denoise {

class TrainingTask final : public RunTask {
 public:
  struct Setup {
    std::unique_ptr<Trainer> trainer;  // restored
    RunFacts facts;
    RunProgress progress;
    RunSchedule schedule;
    Due written;        // of the step that it goes on from, what has been written already
    PictureOrder grid;  // unused where none is ever due
    ModelEvaluation::Setup evaluation;  // but for the network; likewise
    size_t ema_index = 0;               // the average that grids and evaluations look at
    int max_rows = 2;                   // of a network call that makes pictures
    const Clock* clock;                 // outlives the task
  };
  TrainingTask(Setup setup, RunRecorder* recorder, JobObserver* observer,
               std::function<void()> ended);

 private:
  enum class Work { kGrid, kEvaluation, kCheckpoint };

  Outcome Turn() override;
  Outcome Train();
  Outcome MakeGrid();
  Outcome Evaluate();
  Outcome SaveCheckpoint();
  Outcome EndOnceWritten();
  void HonourStop();
  void OnStep(const StepReport& report);
  void Plan(const Due& due, const Due& written);
  bool IsLast() const { return setup_.trainer->done() || setup_.progress.TimeIsUp(); }

  Setup setup_;
  std::deque<Work> work_;     // to be done before the next step
  bool last_;                 // no step follows
  bool stopping_ = false;     // ends once work_ is done and written
  int64_t saved_step_;        // the newest that need not be done again after a stop
  absl::Duration step_time_;  // of the calls of this step so far
  std::unique_ptr<PictureRun> grid_;
  std::vector<Image> grid_pictures_;
  std::unique_ptr<ModelEvaluation> evaluation_;
};

}  // namespace denoise
