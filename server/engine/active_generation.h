// A generation that the engine has accepted: the request, its sink, and how far it is.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/base/mutex.h"
#include "server/engine/generation.h"

namespace denoise {

// Shared by the scheduler and the workers that hold its images. Its sink hears of one thing at a
// time, and of nothing after OnFinished, whichever threads call. Thread-safe.
class ActiveGeneration {
 public:
  ActiveGeneration(uint64_t id, GenerationRequest request, std::shared_ptr<GenerationSink> sink,
                   absl::Time submitted);

  uint64_t id() const { return id_; }
  const GenerationRequest& request() const { return request_; }

  void Queued(int position) ABSL_LOCKS_EXCLUDED(mutex_);     // told only as it falls
  void Started(absl::Time now) ABSL_LOCKS_EXCLUDED(mutex_);  // the first call only
  void Step(int image_index, int step) ABSL_LOCKS_EXCLUDED(mutex_);
  void Frame(FrameUpdate frame) ABSL_LOCKS_EXCLUDED(mutex_);
  void Image(ImageUpdate image) ABSL_LOCKS_EXCLUDED(mutex_);
  void Finish(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);  // the first call only

 private:
  const uint64_t id_;
  const GenerationRequest request_;
  const absl::Time submitted_;

  Mutex mutex_;
  std::shared_ptr<GenerationSink> sink_ ABSL_GUARDED_BY(mutex_);  // null once finished
  bool started_ ABSL_GUARDED_BY(mutex_) = false;
  int position_ ABSL_GUARDED_BY(mutex_) = std::numeric_limits<int>::max();
};

}  // namespace denoise
