// What one Generate stream still has to say, in order, while its reader takes its time.
//
// Nothing here is lost except frames, when there are too many (previews are latest-wins), and stale
// news: a progress or a queue position that has not been written yet is overtaken by the next. So an
// outbox is bounded by the frame limits plus the images of its request, which SampleBudget counts
// before the request begins.
//
// Not thread-safe; its stream guards it.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <variant>

#include "absl/time/time.h"
#include "denoised/v1/image_generation.pb.h"
#include "server/engine/generation.h"

namespace denoise {

// Written as it stands when its turn comes.
struct ProgressMark {};

struct QueuePosition {
  int position;
};

// An event that is ready to be written, or what one is made of.
using OutboxItem = std::variant<denoised::v1::GenerateEvent, QueuePosition, ProgressMark,
                                FrameUpdate, ImageUpdate>;

class Outbox {
 public:
  struct Limits {
    int frames = 256;
    int64_t frame_bytes = 16 << 20;  // as float32 samples
    absl::Duration progress_interval = absl::Milliseconds(100);
  };

  explicit Outbox(const Limits& limits) : limits_(limits) {}

  void PushEvent(denoised::v1::GenerateEvent event);
  void PushQueuePosition(int position);
  // Progress is news at most once per interval, `now` being the time of the news.
  void PushProgress(absl::Time now);
  // Where this one would exceed a limit, drops the oldest frames that a later one of the same image and
  // kind waits behind, then, where that is not enough, the oldest of all. The newest always stays.
  void PushFrame(FrameUpdate frame);
  void PushImage(ImageUpdate image);

  // The next item; nullopt when there is none.
  std::optional<OutboxItem> Pop();

  // Forgets everything: nobody listens any more.
  void Clear();

  bool empty() const { return items_.empty(); }
  int frames_dropped() const { return frames_dropped_; }

 private:
  // What a later frame takes the place of.
  using Preview = std::pair<int, FrameKind>;  // image index and kind
  static Preview PreviewOf(const FrameUpdate& frame) { return {frame.image_index, frame.kind}; }

  void DropFrame();
  void Forget(const FrameUpdate& frame);

  const Limits limits_;
  std::deque<OutboxItem> items_;
  int frames_ = 0;                   // of items_
  std::map<Preview, int> previews_;  // how many of them, with the one that is about to be added
  int64_t frame_bytes_ = 0;
  int frames_dropped_ = 0;
  bool progress_waits_ = false;  // a ProgressMark is among items_
  absl::Time next_progress_ = absl::InfinitePast();
};

}  // namespace denoise
