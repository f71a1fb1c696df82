// A training job while it runs: the trainer's slices on a device, and what happens between steps.
//
// After each step it tells progress, makes a grid of samples, evaluates and saves, where that is due;
// each of these goes on in slices or on the recorder's thread, never in the way of generation.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/base/clock.h"
#include "core/train/trainer.h"
#include "server/engine/device_task.h"
#include "server/jobs/evaluation_run.h"
#include "server/jobs/job_observer.h"
#include "server/jobs/picture_run.h"
#include "server/jobs/run_end.h"
#include "server/jobs/run_progress.h"
#include "server/jobs/run_recorder.h"
#include "server/jobs/run_schedule.h"

namespace denoise {

class TrainingTask final : public DeviceTask {
 public:
  struct Setup {
    std::unique_ptr<Trainer> trainer;
    RunFacts facts;
    RunProgress progress;
    RunSchedule schedule;
    Due due;  // what the step that it goes on from still lacks
    PictureOrder grid;
    std::optional<EvaluationOrder> evaluation;
    size_t ema_index = 0;  // the average that grids and evaluations look at
    int max_rows = 2;      // of a network call that makes pictures
    RunRecorder* recorder;
    const Clock* clock;
    JobObserver* observer;  // may be null
  };
  // `ended` is called once, from the device's thread, when end() is there. What `setup` points to
  // outlives the task.
  TrainingTask(Setup setup, std::function<void()> ended);

  // Thread-safe; wake the task afterwards.
  void RequestStop(StopRequest request) { stop_ = request; }

  Outcome RunSlice() override;

  // Once `ended` was called.
  const RunEnd& end() const { return *end_; }

 private:
  enum class Work { kGrid, kEvaluation, kCheckpoint };

  Outcome Turn();
  Outcome Train();
  Outcome MakeGrid();
  Outcome Evaluate();
  Outcome SaveCheckpoint();
  Outcome End(RunEnd end);
  void HonourStop();
  void OnStep(const StepReport& report, absl::Duration device_time);
  void Plan(const Due& due);
  bool IsLast() const { return trainer_->done() || progress_.TimeIsUp(); }

  const std::unique_ptr<Trainer> trainer_;
  const RunFacts facts_;
  RunProgress progress_;
  const RunSchedule schedule_;
  const PictureOrder grid_order_;
  const std::optional<EvaluationOrder> evaluation_order_;
  const size_t ema_index_;
  const int max_rows_;
  RunRecorder* const recorder_;
  const Clock* const clock_;
  JobObserver* const observer_;
  const std::function<void()> ended_;

  std::atomic<StopRequest> stop_ = StopRequest::kNone;

  // Of the device's thread.
  std::deque<Work> work_;    // to be done before the next step
  bool in_step_ = false;     // some network calls of a step are done
  bool stopping_ = false;    // ends once work_ is done and written
  int64_t saved_step_;       // that a checkpoint or the base model holds
  absl::Duration step_time_; // of the calls of this step so far
  std::unique_ptr<PictureRun> grid_;
  std::vector<Image> grid_pictures_;
  std::unique_ptr<EvaluationRun> evaluation_;
  std::optional<RunEnd> end_;
};

}  // namespace denoise
