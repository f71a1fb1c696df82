// What happened to one generation: a numbered, bounded log, written by the engine and read by any
// number of streams, each at its own pace.
//
// An event gets its number when it happens. Images, `accepted`, `started` and the end are never
// lost. Of frames the log keeps as many as its limits allow, and of queue positions and progress
// the latest; what goes leaves a gap in the numbers. So a log is bounded by its frame limits plus
// the images of its request, which SampleBudget counts before the request begins.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "denoised/v1/image_generation.pb.h"
#include "server/engine/generation.h"

namespace denoise {

// Thread-safe. Outlives its readers. The engine writes it, as a sink; no call waits for a reader.
class GenerationLog final : public GenerationSink {
 public:
  struct Started {
    absl::Duration queue_wait;
  };
  struct Progress {
    int steps_done, steps_total, images_done;
  };
  // The generation can be continued from here.
  struct Handover {
    Continuation done;
    bool paused;  // because somebody has paused it, not because the server drains
  };
  struct End {
    absl::Status status;
    absl::Duration elapsed;  // since the request arrived
    // Of images that are not done, and that no other server continues: evaluations that were made
    // for nothing, and those that are not made any more.
    int64_t evaluations_wasted = 0;
    int64_t evaluations_cancelled = 0;
  };
  struct Event {
    int64_t sequence;
    absl::Time time;
    std::variant<denoised::v1::Accepted, QueuePlace, Started, Progress, FrameUpdate, ImageUpdate,
                 Handover, End>
        what;
  };

  struct Limits {
    int frames = 256;
    int64_t frame_bytes = 16 << 20;  // as float32 samples
    int64_t handover_bytes = 0;      // of the states of images that have begun
    absl::Duration progress_interval = absl::Milliseconds(100);
  };
  struct Options {
    denoised::v1::Accepted accepted;  // the first event
    int steps_total = 0;              // over all images
    // What another server has done: the number of the first event, steps over all images, images.
    int64_t first_sequence = 0;
    int steps_done = 0;
    std::vector<int> images_done = {};
    std::vector<int> images_begun = {};
    int64_t state_bytes = 0;  // of one image that has begun
    absl::Time arrival;       // of the request
    const Clock* clock = &Clock::Real();
    Limits limits = {};
    // Called by the thread that writes. May be empty; must not block.
    std::function<void(const Started&)> on_started = {};
    std::function<void()> on_image = {};
    // Before any reader can see the end, and after it is in the log. Not called by Refuse.
    std::function<void(const End&)> on_ending = {};
    std::function<void()> on_ended = {};
  };

  // A position in the log. Used by one thread at a time.
  class Reader {
   public:
    Reader(GenerationLog* log, int64_t after, std::function<void()> wake, bool takes_handover);
    ~Reader();  // `wake` is not running then, and is never called again
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;

    // The next event; nullopt where there is none now: `over()` says that none will come, else
    // `wake` is called once there is one.
    std::optional<Event> Next();
    bool over() const;

    // Frames that were gone from the log before this reader came to them.
    int frames_missed() const;

   private:
    friend class GenerationLog;
    GenerationLog* const log_;
    const std::function<void()> wake_;
    const bool takes_handover_;
    // Guarded by the log's mutex.
    int64_t position_;   // the number of the last event that was read
    int frames_before_;  // frames that this reader does not count
    int frames_returned_ = 0;
  };

  explicit GenerationLog(Options options);

  // A reader of the events numbered above `after`; -1 for all. `wake` is called by the threads that
  // write, so it must neither block nor call the log. `takes_handover`: it would continue the
  // generation on another server.
  std::unique_ptr<Reader> Attach(int64_t after, std::function<void()> wake,
                                 bool takes_handover = false) ABSL_LOCKS_EXCLUDED(mutex_);

  // Where the generation stands.
  struct Snapshot {
    Progress progress;
    int64_t last_sequence;
    std::optional<absl::Time> started;
    std::optional<absl::Duration> queue_wait;  // once started
    std::optional<absl::Time> ended;
    absl::Status status;  // once ended
    bool paused;          // that is how it ended
    int64_t evaluations;  // of single images, made here so far
    int64_t rows;         // that these took
    // Of single images, that the next server need not repeat; 0 without a handover.
    int64_t evaluations_handed_over;
    int64_t sample_bytes;  // of what is kept: images, frames and the states of a handover
  };
  Snapshot snapshot() const ABSL_LOCKS_EXCLUDED(mutex_);
  const denoised::v1::Accepted& accepted() const { return options_.accepted; }

  // Makes AcceptsHandover true, whoever reads, for Engine::Pause. If the engine hands the generation
  // over from now on, whatever makes it do so, the generation is paused. FailedPrecondition if the
  // images that have begun do not fit into a handover: none of their work may be lost.
  absl::Status RequestPause() ABSL_LOCKS_EXCLUDED(mutex_);

  // Ends a generation that the engine did not take.
  void Refuse(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);

  // GenerationSink, for the engine.
  void OnQueued(const QueuePlace& place) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnStarted(absl::Duration queue_wait) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnEvaluated(int image_index, int rows) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnStep(int image_index, int step) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnFrame(FrameUpdate frame) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnImage(ImageUpdate image) override ABSL_LOCKS_EXCLUDED(mutex_);
  bool AcceptsHandover() override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnHandover(std::vector<ImageSnapshot> images_begun) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnFinished(const absl::Status& status) override ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // What a later frame takes the place of: image index and kind.
  using Preview = std::pair<int, FrameKind>;
  using Events = std::deque<Event>;

  bool IsFollowed() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int64_t ImagesBegun() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AppendEnd(const End& end, absl::Time now) ABSL_LOCKS_EXCLUDED(mutex_);
  template <class What>
  void Append(What what, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  template <class What>
  void RemoveLatest() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DropFrame() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Events::iterator FrameToDrop() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int64_t ReadByAll() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int CountFramesAfter(int64_t sequence) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Progress CurrentProgress() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CountLost(End& end) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;

  mutable Mutex mutex_;
  Events events_ ABSL_GUARDED_BY(mutex_);  // by number
  std::set<Reader*> readers_ ABSL_GUARDED_BY(mutex_);
  int64_t next_sequence_ ABSL_GUARDED_BY(mutex_);
  int frames_ ABSL_GUARDED_BY(mutex_) = 0;  // of events_
  int64_t frame_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t image_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t handover_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<Preview, int> previews_ ABSL_GUARDED_BY(mutex_);  // how many frames of each
  int frames_total_ ABSL_GUARDED_BY(mutex_) = 0;             // that ever were
  int steps_done_ ABSL_GUARDED_BY(mutex_);
  std::vector<int> images_done_ ABSL_GUARDED_BY(mutex_);
  absl::Time last_step_ ABSL_GUARDED_BY(mutex_);
  absl::Time next_progress_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  std::map<int, int64_t> evaluations_ ABSL_GUARDED_BY(mutex_);  // by image, made here
  int64_t rows_ ABSL_GUARDED_BY(mutex_) = 0;
  bool pause_requested_ ABSL_GUARDED_BY(mutex_) = false;
  bool handed_over_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t evaluations_handed_over_ ABSL_GUARDED_BY(mutex_) = 0;
  bool paused_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<absl::Time> started_ ABSL_GUARDED_BY(mutex_);
  absl::Duration queue_wait_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Time> ended_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace denoise
