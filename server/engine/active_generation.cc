#include "server/engine/active_generation.h"

#include <utility>
#include <variant>

#include "core/pipeline/begin.h"

namespace denoise {

namespace {

// Where there is nothing to encode, the first evaluation begins the trajectory.
Stage FirstStage(const GenerationRequest& request) {
  const bool encodes =
      BringsPictures(request) || !UnencodedConditions(request.conditioning).empty();
  return encodes ? Stage::kEncode : Stage::kEvaluate;
}

}  // namespace

WorkDemand DemandOf(const GenerationRequest& request) {
  return {.network = request.pipelines,
          .height = request.shape.height,
          .width = request.shape.width,
          .row_size = request.row_size,
          .first_stage = FirstStage(request),
          .items = request.count,
          .evaluations = static_cast<int>(request.plan->evaluations.size()),
          .rows_first = NumRows(request.conditioning, request.plan->evaluations.front()),
          .rows_max = MaxRows(request.conditioning, *request.plan),
          .rows_full = FullRows(request.conditioning),
          .priority = request.priority,
          .tenant = request.tenant,
          .deadline = request.deadline};
}

ActiveGeneration::ActiveGeneration(GenerationRequest request, std::shared_ptr<GenerationSink> sink,
                                   absl::Time submitted)
    : Work(DemandOf(request)),
      request_(std::move(request)),
      submitted_(submitted),
      sink_(std::move(sink)) {}

std::unique_ptr<WorkItem> ActiveGeneration::MakeItem(int index) {
  return std::make_unique<ActiveImage>(index, shared_from_this());
}

void ActiveGeneration::OnQueued(int position) {
  const MutexLock lock(mutex_);
  if (!sink_ || started_ || position >= position_) return;
  position_ = position;
  sink_->OnQueued(position);
}

void ActiveGeneration::Started(absl::Time now) {
  const MutexLock lock(mutex_);
  if (!sink_ || started_) return;
  started_ = true;
  sink_->OnStarted(now - submitted_);
}

void ActiveGeneration::Step(int image_index, int step) {
  const MutexLock lock(mutex_);
  if (sink_) sink_->OnStep(image_index, step);
}

void ActiveGeneration::Frame(FrameUpdate frame) {
  const MutexLock lock(mutex_);
  if (sink_) sink_->OnFrame(std::move(frame));
}

void ActiveGeneration::Image(ImageUpdate image) {
  const MutexLock lock(mutex_);
  if (sink_) sink_->OnImage(std::move(image));
}

void ActiveGeneration::OnFinished(const absl::Status& status) {
  const MutexLock lock(mutex_);
  if (const auto sink = std::exchange(sink_, nullptr)) sink->OnFinished(status);
}

}  // namespace denoise
