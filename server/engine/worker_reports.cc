#include "server/engine/worker_reports.h"

#include <utility>

#include "core/diffusion/device_errors.h"

namespace denoise {
namespace {

TurnReport::Kind KindOf(Stage stage) {
  switch (stage) {
    case Stage::kEncode:
      return TurnReport::Kind::kEncode;
    case Stage::kEvaluate:
      return TurnReport::Kind::kEvaluate;
    case Stage::kDecode:
      break;
  }
  return TurnReport::Kind::kDecode;
}

}  // namespace

std::vector<ActiveImage*> ImagesOf(const Batch& batch) {
  std::vector<ActiveImage*> images;
  for (WorkItem* item : batch.items) images.push_back(static_cast<ActiveImage*>(item));
  return images;
}

WorkerReports::WorkerReports(int index, std::string device, const Scheduler& scheduler,
                             const Clock& clock, EngineObserver* observer)
    : index_(index),
      device_(std::move(device)),
      scheduler_(scheduler),
      clock_(clock),
      observer_(observer) {}

void WorkerReports::Turn(const Batch& batch) const {
  if (observer_ == nullptr || batch.items.empty()) return;
  TurnReport turn{.kind = KindOf(batch.stage)};
  for (const ActiveImage* image : ImagesOf(batch)) {
    turn.images.push_back(Describe(*image, batch.stage));
  }
  Turn(std::move(turn));
}

void WorkerReports::Turn(const Slice& slice) const {
  if (observer_ == nullptr) return;
  const bool measures = slice.task->kind() == DeviceTask::Kind::kMeasurement;
  Turn(TurnReport{.kind = measures ? TurnReport::Kind::kMeasure : TurnReport::Kind::kTrain,
                  .task = slice.task->name()});
}

void WorkerReports::Turn(TurnReport turn) const {
  if (observer_ == nullptr) return;
  turn.began = clock_.Now();
  turn.active_rows = scheduler_.ActiveRows(index_);
  observer_->OnTurn(device_, turn);
}

ImageInTurn WorkerReports::Describe(const ActiveImage& image, Stage stage) const {
  const GenerationRequest& request = image.generation->request();
  const int64_t factor = PipelineOf(image, index_).codec->spec().factor;
  ImageInTurn described{.request = &request,
                        .index = image.index,
                        .height = request.shape.height * factor,
                        .width = request.shape.width * factor,
                        .rows = image.rows};
  if (image.trajectory) {
    described.evaluations_done = image.trajectory->evaluations_done();
    described.steps_done = image.trajectory->steps_done();
  }
  if (stage == Stage::kEvaluate) {
    described.timestep = request.plan->evaluations[described.evaluations_done].timestep;
  }
  return described;
}

void WorkerReports::Load() const {
  if (observer_ == nullptr) return;
  observer_->OnQueueDepth(scheduler_.QueueDepth());
  observer_->OnOutstandingCost(scheduler_.OutstandingCost());
  observer_->OnActiveRows(device_, scheduler_.ActiveRows(index_));
  observer_->OnDecodeQueue(device_, scheduler_.ItemsAt(index_, Stage::kDecode));
}

void WorkerReports::BatchFailed(const std::exception& error) const {
  if (observer_ != nullptr) observer_->OnBatchFailed(device_, DescribeError(error));
}

void WorkerReports::CaptureFailed(const std::exception& error) const {
  if (observer_ != nullptr) observer_->OnCaptureFailed(device_, DescribeError(error));
}

void WorkerReports::Evaluated(const EvaluationReport& report) const {
  if (observer_ != nullptr) observer_->OnEvaluation(device_, report);
}

void WorkerReports::Encoded(absl::Duration duration) const {
  if (observer_ != nullptr) observer_->OnEncode(device_, duration);
}

void WorkerReports::Decoded(const DecodeReport& report) const {
  if (observer_ != nullptr) observer_->OnDecode(device_, report);
}

void WorkerReports::SliceEnded(const DeviceTask& task, absl::Duration duration) const {
  if (observer_ == nullptr || task.kind() != DeviceTask::Kind::kTraining) return;
  observer_->OnSlice(device_, duration);
}

void WorkerReports::TaskFailed(const absl::Status& status) const {
  if (observer_ != nullptr) observer_->OnTaskFailed(device_, std::string(status.message()));
}

}  // namespace denoise
