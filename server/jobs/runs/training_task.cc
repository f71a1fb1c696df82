#include "server/jobs/runs/training_task.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "server/jobs/runs/picture_sheet.h"
#include "server/jobs/runs/run_events.h"
#include "server/jobs/store/resource_names.h"

namespace denoise {
namespace {

// When this many events wait for the disk, training waits for it, too.
constexpr size_t kMaxWaiting = 64;

}  // namespace

TrainingTask::TrainingTask(Setup setup, RunRecorder* recorder, JobObserver* observer,
                           std::function<void()> ended)
    : RunTask(recorder, observer, std::move(ended)),
      setup_(std::move(setup)),
      last_(IsLast()),
      saved_step_(setup_.trainer->steps_done()) {
  Plan(setup_.schedule.At(saved_step_, last_), setup_.written);
}

DeviceTask::Outcome TrainingTask::Work() {
  HandleStopRequest();
  if (!chores_.empty()) {
    switch (chores_.front()) {
      case Chore::kGrid:
        return MakeGrid();
      case Chore::kEvaluation:
        return Evaluate();
      case Chore::kCheckpoint:
        return SaveCheckpoint();
    }
  }
  return stopping_ || last_ || regrouping_ ? EndOnceWritten() : Train();
}

// Stops at once, wherever the run is, except in a step that other ranks take, too. What is left out
// is done when it resumes from its checkpoint.
void TrainingTask::HandleStopRequest() {
  const StopRequest request = stop_request();
  if (request == StopRequest::kNone || (stopping_ && request == StopRequest::kSave)) return;
  if (setup_.trainer->in_shared_step()) return;
  stopping_ = true;
  chores_.clear();
  grid_.reset();
  evaluation_.reset();
  const bool save = request == StopRequest::kSave && setup_.trainer->steps_done() != saved_step_;
  if (save) chores_.push_back(Chore::kCheckpoint);
}

DeviceTask::Outcome TrainingTask::Train() {
  const bool may_wait = !setup_.trainer->in_shared_step();
  if (may_wait && recorder_->waiting() >= kMaxWaiting) return Outcome::kIdle;
  if (setup_.ranks) {
    const absl::StatusOr<bool> joined = JoinRanks();
    if (!joined.ok()) return FailTraining(joined.status());
    if (!*joined) return Outcome::kIdle;
  }
  const absl::Time before = setup_.clock->Now();
  const absl::StatusOr<std::optional<StepReport>> report = setup_.trainer->RunSlice();
  if (!report.ok()) return FailTraining(report.status());
  const absl::Duration time = setup_.clock->Now() - before;
  setup_.progress.AddTime(time);
  step_time_ += time;
  if (*report) OnStep(**report);
  return setup_.trainer->in_shared_step() ? Outcome::kMoreNow : Outcome::kMore;
}

absl::StatusOr<bool> TrainingTask::JoinRanks() {
  auto gathered = setup_.ranks->Take();
  if (!gathered) return false;
  setup_.ranks.reset();
  ASSIGN_OR_RETURN(const std::shared_ptr<RankGroup> group, *std::move(gathered));
  if (observer_ != nullptr) observer_->OnRanks(JobName(recorder_->job()), group->size());
  recorder_->WriteEndOfWait();
  setup_.trainer->TrainWith(group);
  return true;
}

void TrainingTask::OnStep(const StepReport& report) {
  setup_.progress.AddStep(report);
  if (observer_ != nullptr) {
    observer_->OnTrainingStep(
        JobName(recorder_->job()),
        {.pictures = setup_.facts.batch_size, .device_time = step_time_, .loss = report.loss});
  }
  step_time_ = absl::ZeroDuration();
  last_ = IsLast();
  const Due due = setup_.schedule.At(report.step, last_);
  if (due.progress) {
    recorder_->Write(ProgressEvent(
        setup_.progress.Take(report, setup_.trainer->non_finite_steps(), setup_.clock->Now())));
  }
  Plan(due, {});
  if (!setup_.trainer->rank_leaves() || last_) return;
  regrouping_ = true;
  chores_ = {Chore::kCheckpoint};  // the others come after the ranks have gathered again
}

void TrainingTask::Plan(const Due& due, const Due& written) {
  if (due.grid && !written.grid) chores_.push_back(Chore::kGrid);
  if (due.evaluation && !written.evaluation) chores_.push_back(Chore::kEvaluation);
  if (due.checkpoint && !written.checkpoint) chores_.push_back(Chore::kCheckpoint);
}

absl::StatusOr<std::shared_ptr<const Network>> TrainingTask::EvaluatedNetwork() {
  ASSIGN_OR_RETURN(auto network, setup_.trainer->EmaNetwork(setup_.ema_index));
  if (runtime_ == nullptr) runtime_ = MakeDeviceRuntime(network->device());
  return network;
}

DeviceTask::Outcome TrainingTask::MakeGrid() {
  if (!grid_) {
    auto network = EvaluatedNetwork();
    if (!network.ok()) return Fail(network.status());
    grid_ =
        std::make_unique<PictureRun>(*std::move(network), runtime_, setup_.grid, setup_.max_rows);
    grid_pictures_.clear();
  }
  const at::Tensor pictures = grid_->RunSlice();
  if (pictures.defined()) {
    for (Image& image : ImagesOf(pictures)) grid_pictures_.push_back(std::move(image));
  }
  if (!grid_->done()) return Outcome::kMore;
  recorder_->WriteLater(
      [step = setup_.trainer->steps_done(), images = std::exchange(grid_pictures_, {})] {
        return GridEvent(step, images);
      });
  grid_.reset();
  chores_.pop_front();
  return Outcome::kMore;
}

DeviceTask::Outcome TrainingTask::Evaluate() {
  if (!evaluation_) {
    auto network = EvaluatedNetwork();
    if (!network.ok()) return Fail(network.status());
    ModelEvaluation::Setup setup = setup_.evaluation;
    setup.network = *std::move(network);
    setup.runtime = runtime_;
    auto evaluation = ModelEvaluation::Create(std::move(setup));
    if (!evaluation.ok()) return Fail(evaluation.status());
    evaluation_ = *std::move(evaluation);
  }
  const absl::Status status = evaluation_->RunSlice();
  if (!status.ok()) return Fail(status);
  if (!evaluation_->done()) return Outcome::kMore;
  recorder_->WriteLater([step = setup_.trainer->steps_done(), report = evaluation_->report()] {
    return EvaluationEvent(step, report);
  });
  evaluation_.reset();
  chores_.pop_front();
  return Outcome::kMore;
}

// Only one snapshot is written at a time, because each is as large as all of the run's state. What
// has diverged is not written: a roll-back would lead to it, and people could publish it. The last
// step has nothing after it that could recover, so the run fails there.
DeviceTask::Outcome TrainingTask::SaveCheckpoint() {
  if (recorder_->checkpoint_waiting()) return Outcome::kIdle;
  const absl::Status usable = setup_.trainer->CheckUsable();
  if (absl::IsAborted(usable) && !last_) {
    chores_.pop_front();
    return Outcome::kMore;
  }
  if (!usable.ok()) return FailTraining(usable);
  absl::StatusOr<TrainingSnapshot> snapshot = setup_.trainer->Snapshot();
  if (!snapshot.ok()) return Fail(snapshot.status());
  snapshot->state = setup_.progress.Encode(snapshot->state);
  saved_step_ = snapshot->step;
  recorder_->WriteCheckpoint(*std::move(snapshot));
  chores_.pop_front();
  return Outcome::kMore;
}

// Of a network that diverged, the reason names what was trained and how to go on.
DeviceTask::Outcome TrainingTask::FailTraining(const absl::Status& status) {
  if (!absl::IsAborted(status)) return Fail(status);
  return Fail(absl::AbortedError(absl::StrCat("the training of ", setup_.model,
                                              " diverged: ", status.message(),
                                              ". Try a lower optimizer.learning_rate")));
}

DeviceTask::Outcome TrainingTask::EndOnceWritten() {
  if (recorder_->waiting() > 0) return Outcome::kIdle;
  if (stopping_) return End({RunEnd::Kind::kStopped, ""});
  if (regrouping_) return End({RunEnd::Kind::kRegroup, "another machine that trained it left"});
  setup_.trainer->SetFinished();
  return End(
      {RunEnd::Kind::kFinished, setup_.trainer->done() ? "" : "max_duration was spent training"});
}

}  // namespace denoise
