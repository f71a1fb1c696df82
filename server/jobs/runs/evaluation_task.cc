#include "server/jobs/runs/evaluation_task.h"

#include <algorithm>
#include <utility>

#include "server/jobs/runs/run_events.h"

namespace denoise {
namespace {
constexpr int64_t kReportsPerJob = 100;  // at most
}  // namespace

EvaluationTask::EvaluationTask(std::unique_ptr<ModelEvaluation> evaluation, RunRecorder* recorder,
                               JobObserver* observer, std::function<void()> ended)
    : RunTask(recorder, observer, std::move(ended)), evaluation_(std::move(evaluation)) {}

DeviceTask::Outcome EvaluationTask::Work() {
  if (result_reported_) {
    return recorder_->waiting() > 0 ? Outcome::kIdle : End({RunEnd::Kind::kFinished, ""});
  }
  if (stop_request() != StopRequest::kNone) return End({RunEnd::Kind::kStopped, ""});
  const absl::Status status = evaluation_->RunSlice();
  if (!status.ok()) return Fail(status);
  ReportProgress();
  if (!evaluation_->done()) return Outcome::kMore;
  recorder_->WriteLater([report = evaluation_->report()] { return EvaluationEvent(0, report); });
  result_reported_ = true;
  return Outcome::kMore;
}

void EvaluationTask::ReportProgress() {
  const auto [done, total] = evaluation_->progress();
  const int64_t interval = std::max<int64_t>(total / kReportsPerJob, 1);
  if (done / interval == reported_ / interval && (done < total || reported_ == total)) return;
  reported_ = done;
  denoised::v1::TrainingEvent event;
  event.mutable_progress()->set_step(done);
  recorder_->Write(std::move(event));
}

}  // namespace denoise
