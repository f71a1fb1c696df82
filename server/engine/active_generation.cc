#include "server/engine/active_generation.h"

#include <algorithm>
#include <exception>
#include <utility>
#include <variant>

#include "absl/hash/hash.h"
#include "core/base/error_details.h"
#include "core/pipeline/begin.h"

namespace denoise {

absl::Status PausedError() {
  return WithErrorReason(
      absl::AbortedError("the generation was paused. Present its latest token to continue it"),
      "GENERATION_PAUSED");
}

const TrajectorySnapshot* SnapshotOf(const GenerationRequest& request, int index) {
  for (const ImageSnapshot& begun : request.continues_from.images_begun) {
    if (begun.image_index == index) return &begun.trajectory;
  }
  return nullptr;
}

namespace {

bool Continues(const GenerationRequest& request) {
  return !request.continues_from.images_begun.empty();
}

int EvaluationsLeft(const GenerationRequest& request, int index) {
  const TrajectorySnapshot* const begun = SnapshotOf(request, index);
  return static_cast<int>(request.plan->evaluations.size()) -
         (begun == nullptr ? 0 : begun->evaluations_done);
}

// Of an image that is to be made.
int MostEvaluationsLeft(const GenerationRequest& request) {
  const Continuation& continuation = request.continues_from;
  const size_t known = continuation.images_done.size() + continuation.images_begun.size();
  if (known < static_cast<size_t>(request.count)) {
    return static_cast<int>(request.plan->evaluations.size());
  }
  int most = 0;
  for (const ImageSnapshot& image : continuation.images_begun) {
    most = std::max(most, EvaluationsLeft(request, image.image_index));
  }
  return most;
}

std::vector<int> ImagesToMake(const GenerationRequest& request) {
  const std::vector<int>& done = request.continues_from.images_done;
  std::vector<int> images;
  for (int i = 0; i < request.count; ++i) {
    if (std::find(done.begin(), done.end(), i) == done.end()) images.push_back(i);
  }
  return images;
}

// Where there is nothing to encode, the first evaluation begins the trajectory. Images that have
// begun elsewhere may have no evaluation left.
Stage FirstStage(const GenerationRequest& request) {
  const bool encodes = BringsPictures(request) || Continues(request) ||
                       !UnencodedConditions(request.conditioning).empty();
  return encodes ? Stage::kEncode : Stage::kEvaluate;
}

bool Decodes(const GenerationRequest& request) {
  return request.decode && request.pipelines && !request.pipelines->empty() &&
         !request.pipelines->front()->codec->spec().is_identity;
}

// The same for requests whose evaluations take the same network calls, at the same timesteps, and do
// the same with what the network predicts.
uint64_t SettingsOf(const GenerationRequest& request) {
  const SamplerPlan& plan = *request.plan;
  size_t hash = absl::HashOf(plan.evaluations.size(), request.pipelines.get(), request.shape.height,
                             request.shape.width, FullRows(request.conditioning));
  for (const Evaluation& evaluation : plan.evaluations) {
    hash = absl::HashOf(hash, evaluation.timestep, evaluation.input_scale, evaluation.x0_from_state,
                        evaluation.x0_from_output, evaluation.ends_step);
  }
  return hash;
}

// Whether the expected start has moved by more than a second and a fifth of the wait.
bool StartsElsewhen(const QueuePlace& told, const QueuePlace& place) {
  if (told.expected_wait.has_value() != place.expected_wait.has_value()) return true;
  if (!place.expected_wait) return false;
  const absl::Duration moved =
      place.as_of + *place.expected_wait - (told.as_of + *told.expected_wait);
  return absl::AbsDuration(moved) > std::max(absl::Seconds(1), *place.expected_wait / 5);
}

}  // namespace

WorkDemand DemandOf(const GenerationRequest& request) {
  return {.network = request.pipelines,
          .height = request.shape.height,
          .width = request.shape.width,
          .row_size = request.row_size,
          .first_stage = FirstStage(request),
          .decodes = Decodes(request),
          .encodes_alone = BringsPictures(request),
          .items = request.count - static_cast<int>(request.continues_from.images_done.size()),
          .evaluations = MostEvaluationsLeft(request),
          .rows_first = NumRows(request.conditioning, request.plan->evaluations.front()),
          .rows_max = MaxRows(request.conditioning, *request.plan),
          .rows_full = FullRows(request.conditioning),
          .settings = SettingsOf(request),
          .flow = {.tenant = request.tenant, .priority = request.priority},
          .deadline = request.deadline};
}

ActiveGeneration::ActiveGeneration(GenerationRequest request, std::shared_ptr<GenerationSink> sink,
                                   absl::Time submitted, const EngineCounts& counts)
    : Work(DemandOf(request)),
      counts_(counts),
      counted_(counts.requests),
      request_(std::move(request)),
      submitted_(submitted),
      images_(ImagesToMake(request_)),
      sink_(std::move(sink)) {}

std::unique_ptr<WorkItem> ActiveGeneration::MakeItem(int index) {
  auto image = std::make_unique<ActiveImage>(images_[index], shared_from_this(), counts_.images);
  image->evaluations_left = EvaluationsLeft(request_, image->index);
  return image;
}

bool ActiveGeneration::AcceptsHandover() {
  const MutexLock lock(mutex_);
  if (!hands_over_) hands_over_ = sink_ && sink_->AcceptsHandover();
  return hands_over_;
}

// Another server makes the image anew where it cannot be handed over.
void ActiveGeneration::OnDropped(WorkItem& item) {
  const auto& image = static_cast<const ActiveImage&>(item);
  {
    const MutexLock lock(mutex_);
    if (!hands_over_ || !image.trajectory) return;
  }
  try {
    ImageSnapshot snapshot = {.image_index = image.index,
                              .trajectory = image.trajectory->Snapshot()};
    if (!CheckSnapshot(snapshot.trajectory, *request_.plan, request_.shape).ok()) return;
    const MutexLock lock(mutex_);
    begun_.push_back(std::move(snapshot));
  } catch (const std::exception&) {
  }
}

void ActiveGeneration::OnWorkerFailed(WorkItem& item) {
  auto& image = static_cast<ActiveImage&>(item);
  image.trajectory.reset();
  image.decoding.reset();
  image.decoding_duration = absl::ZeroDuration();
  image.evaluations_left = EvaluationsLeft(request_, image.index);
}

// The scheduler says where a request is with every turn, possibly out of order. That is news if the
// position has changed, or if it is expected to start at another time.
void ActiveGeneration::OnQueued(const QueuePlace& place) {
  const MutexLock lock(mutex_);
  if (!sink_ || started_ || (place_ && place.as_of < place_->as_of)) return;
  if (place_ && place.position == place_->position && !StartsElsewhen(*place_, place)) return;
  place_ = place;
  sink_->OnQueued(place);
}

void ActiveGeneration::Started(absl::Time now) {
  const MutexLock lock(mutex_);
  if (!sink_ || started_) return;
  started_ = true;
  sink_->OnStarted(now - submitted_);
}

void ActiveGeneration::Evaluated(int image_index, int rows) {
  const MutexLock lock(mutex_);
  if (sink_) sink_->OnEvaluated(image_index, rows);
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
  images_made_.insert(image.image_index);
  if (sink_) sink_->OnImage(std::move(image));
}

// Images that another server has begun and this one has not come to keep the state that they came
// with.
void ActiveGeneration::KeepUntouched() {
  std::set<int> known = images_made_;
  for (const ImageSnapshot& image : begun_) known.insert(image.image_index);
  for (const ImageSnapshot& image : request_.continues_from.images_begun) {
    if (!known.contains(image.image_index)) begun_.push_back(image);
  }
}

void ActiveGeneration::OnFinished(const absl::Status& status) {
  const MutexLock lock(mutex_);
  const auto sink = std::exchange(sink_, nullptr);
  if (!sink) return;
  const bool continues = absl::IsUnavailable(status) || absl::IsAborted(status);
  if (!hands_over_ || !continues) return sink->OnFinished(status);
  if (images_made_.size() == images_.size()) return sink->OnFinished(absl::OkStatus());
  KeepUntouched();
  sink->OnHandover(std::move(begun_));
  sink->OnFinished(status);
}

const Pipeline& PipelineOf(const ActiveImage& image, int index) {
  return *(*image.generation->request().pipelines)[index];
}

bool Decodes(const ActiveImage& image, int index) {
  return image.generation->request().decode && !PipelineOf(image, index).codec->spec().is_identity;
}

}  // namespace denoise
