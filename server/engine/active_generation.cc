#include "server/engine/active_generation.h"

#include <utility>
#include <variant>

#include "absl/hash/hash.h"
#include "core/pipeline/begin.h"

namespace denoise {

namespace {

// Where there is nothing to encode, the first evaluation begins the trajectory.
Stage FirstStage(const GenerationRequest& request) {
  const bool encodes =
      BringsPictures(request) || !UnencodedConditions(request.conditioning).empty();
  return encodes ? Stage::kEncode : Stage::kEvaluate;
}

bool Decodes(const GenerationRequest& request) {
  return request.decode && request.pipelines && !request.pipelines->empty() &&
         !request.pipelines->front()->codec->spec().is_identity;
}

// The same for plans whose evaluations are at the same timesteps and do the same with what the
// network predicts.
uint64_t SettingsOf(const SamplerPlan& plan) {
  size_t hash = plan.evaluations.size();
  for (const Evaluation& evaluation : plan.evaluations) {
    hash = absl::HashOf(hash, evaluation.timestep, evaluation.input_scale, evaluation.x0_from_state,
                        evaluation.x0_from_output, evaluation.ends_step);
  }
  return hash;
}

}  // namespace

WorkDemand DemandOf(const GenerationRequest& request) {
  return {.network = request.pipelines,
          .height = request.shape.height,
          .width = request.shape.width,
          .row_size = request.row_size,
          .first_stage = FirstStage(request),
          .decodes = Decodes(request),
          .items = request.count,
          .evaluations = static_cast<int>(request.plan->evaluations.size()),
          .rows_first = NumRows(request.conditioning, request.plan->evaluations.front()),
          .rows_max = MaxRows(request.conditioning, *request.plan),
          .rows_full = FullRows(request.conditioning),
          .settings = SettingsOf(*request.plan),
          .flow = {.tenant = request.tenant, .priority = request.priority},
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

void ActiveGeneration::OnQueued(const QueuePlace& place) {
  const MutexLock lock(mutex_);
  if (!sink_ || started_ || place.position >= position_) return;
  position_ = place.position;
  sink_->OnQueued(place);
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
