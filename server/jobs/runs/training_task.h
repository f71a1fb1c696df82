// A training job while it runs: the trainer's slices, and the work between steps.
//
// After each step it reports progress, makes a grid of samples, evaluates and saves, as far as that
// is due. All of that happens in slices or on the recorder's thread, so that generation never waits
// long.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/evaluation/model_evaluation.h"
#include "core/image/image.h"
#include "core/train/trainer.h"
#include "server/jobs/ranks/rank_gathering.h"
#include "server/jobs/runs/picture_run.h"
#include "server/jobs/runs/run_progress.h"
#include "server/jobs/runs/run_schedule.h"
#include "server/jobs/runs/run_task.h"

namespace denoise {

class TrainingTask final : public RunTask {
 public:
  struct Setup {
    std::unique_ptr<Trainer> trainer;  // restored
    std::string model;                 // what it trains, for people: "models/emoji-32"
    RunFacts facts;
    RunProgress progress;
    RunSchedule schedule;
    // The other ranks, while they gather; null: this is the only rank. Steps wait for them.
    std::unique_ptr<RankGathering> ranks;
    Due written;        // what has been written already for the step that it resumes from
    PictureOrder grid;  // unused where none is ever due
    ModelEvaluation::Setup evaluation;  // without the network; unused where none is ever due
    size_t ema_index = 0;               // the moving average that grids and evaluations use
    int max_rows = 2;                   // per network call that makes pictures
    const Clock* clock;                 // outlives the task
  };
  TrainingTask(Setup setup, RunRecorder* recorder, JobObserver* observer,
               std::function<void()> ended);

 private:
  enum class Chore { kGrid, kEvaluation, kCheckpoint };

  Outcome Work() override;
  Outcome Train();
  // False: they are still gathering.
  absl::StatusOr<bool> JoinRanks();
  Outcome MakeGrid();
  Outcome Evaluate();
  Outcome SaveCheckpoint();
  // The network of grids and evaluations. The first call makes their runtime.
  absl::StatusOr<std::shared_ptr<const Network>> EvaluatedNetwork();
  Outcome EndOnceWritten();
  Outcome FailTraining(const absl::Status& status);
  void HandleStopRequest();
  void OnStep(const StepReport& report);
  void Plan(const Due& due, const Due& written);
  bool IsLast() const { return setup_.trainer->done() || setup_.progress.TimeIsUp(); }

  Setup setup_;
  std::deque<Chore> chores_;  // to be done before the next step
  bool last_;                 // no step follows
  bool regrouping_ = false;   // ends likewise, for a rank that leaves
  bool stopping_ = false;     // ends once the chores are done and written
  int64_t saved_step_;        // the newest step that need not be repeated after a stop
  absl::Duration step_time_;  // device time of the current step so far
  std::shared_ptr<DeviceRuntime> runtime_;  // of all grids and evaluations; null before the first
  std::unique_ptr<PictureRun> grid_;
  std::vector<Image> grid_pictures_;
  std::unique_ptr<ModelEvaluation> evaluation_;
};

}  // namespace denoise
