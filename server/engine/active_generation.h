// A generation that the engine has accepted: the request, its sink and its progress, as the
// scheduler's work.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/base/mutex.h"
#include "core/base/object_count.h"
#include "core/codec/tiled_pass.h"
#include "core/diffusion/trajectory.h"
#include "server/engine/generation.h"
#include "server/scheduling/work.h"

namespace denoise {

class ActiveGeneration;

// One image in a worker's loop.
struct ActiveImage : WorkItem {
  ActiveImage(int image_index, std::shared_ptr<ActiveGeneration> owner, ObjectCount* count)
      : WorkItem(image_index), counted(count), generation(std::move(owner)) {}

  const CountedObject counted;
  const std::shared_ptr<ActiveGeneration> generation;
  // Made by the worker: at the first turn, and at the first turn of decoding.
  std::optional<Trajectory> trajectory;
  std::optional<TiledPass> decoding;
  int steps_sent = 0;                // to the sink, with their frames
  absl::Time denoised;               // when the last evaluation was done
  absl::Duration decoding_duration;  // of the turns of decoding so far
};

// Where image `index` of the request goes on from; null where it begins anew.
const TrajectorySnapshot* SnapshotOf(const GenerationRequest& request, int index);

// Where generations and their images are counted. Null: nowhere.
struct EngineCounts {
  ObjectCount* requests = nullptr;
  ObjectCount* images = nullptr;
};

// What `request` asks of a device.
WorkDemand DemandOf(const GenerationRequest& request);

// Shared by the scheduler and the workers that hold its images. Calls its sink one call at a time,
// and never again after OnFinished, whichever threads call. Thread-safe.
class ActiveGeneration : public Work, public std::enable_shared_from_this<ActiveGeneration> {
 public:
  ActiveGeneration(GenerationRequest request, std::shared_ptr<GenerationSink> sink,
                   absl::Time submitted, const EngineCounts& counts = {});

  const GenerationRequest& request() const { return request_; }
  absl::Time submitted() const { return submitted_; }
  uint64_t SeedOf(int image_index) const {
    return request_.seed + static_cast<uint64_t>(image_index);
  }

  // Images that another server has finished are not made.
  std::unique_ptr<WorkItem> MakeItem(int index) override;
  bool AcceptsHandover() override ABSL_LOCKS_EXCLUDED(mutex_);
  // Keeps where the image stands, if the generation is handed over.
  void OnDropped(WorkItem& item) override ABSL_LOCKS_EXCLUDED(mutex_);
  // Lets go of what is on the device. Steps that have been sent are not sent again.
  void OnWorkerFailed(WorkItem& item) override;
  // Passes on what is news, until the generation starts.
  void OnQueued(const QueuePlace& place) override ABSL_LOCKS_EXCLUDED(mutex_);
  // Only the first call counts.
  void OnFinished(const absl::Status& status) override ABSL_LOCKS_EXCLUDED(mutex_);

  void Started(absl::Time now) ABSL_LOCKS_EXCLUDED(mutex_);  // only the first call counts
  void Evaluated(int image_index, int rows) ABSL_LOCKS_EXCLUDED(mutex_);
  void Step(int image_index, int step) ABSL_LOCKS_EXCLUDED(mutex_);
  void Frame(FrameUpdate frame) ABSL_LOCKS_EXCLUDED(mutex_);
  void Image(ImageUpdate image) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void KeepUntouched() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const EngineCounts counts_;
  const CountedObject counted_;
  const GenerationRequest request_;
  const absl::Time submitted_;
  const std::vector<int> images_;  // to make

  Mutex mutex_;
  std::shared_ptr<GenerationSink> sink_ ABSL_GUARDED_BY(mutex_);  // null once finished
  bool started_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<QueuePlace> place_ ABSL_GUARDED_BY(mutex_);  // that the sink was last told
  std::set<int> images_made_ ABSL_GUARDED_BY(mutex_);
  bool hands_over_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<ImageSnapshot> begun_ ABSL_GUARDED_BY(mutex_);  // to be handed over
};

// The model of the image, as device `index` of the engine has it.
const Pipeline& PipelineOf(const ActiveImage& image, int index);
// Whether its finished trajectory is not yet a picture.
bool Decodes(const ActiveImage& image, int index);

}  // namespace denoise
