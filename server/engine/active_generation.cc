#include "server/engine/active_generation.h"

#include <utility>

namespace denoise {

ActiveGeneration::ActiveGeneration(uint64_t id, GenerationRequest request,
                                   std::shared_ptr<GenerationSink> sink, absl::Time submitted)
    : id_(id), request_(std::move(request)), submitted_(submitted), sink_(std::move(sink)) {}

void ActiveGeneration::Queued(int position) {
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

void ActiveGeneration::Finish(const absl::Status& status) {
  const MutexLock lock(mutex_);
  if (const auto sink = std::exchange(sink_, nullptr)) sink->OnFinished(status);
}

}  // namespace denoise
