// One Generate stream: between the engine, which tells what happens, and a reader, who takes it at
// their own pace.
//
// The engine's threads only put things into the outbox. Whenever the reader is ready for the next
// event, one task on the picture pool takes the next item, makes a picture of it where it is one,
// and hands the event to the writer. So at most one event is being made or written at a time,
// pictures are encoded only once somebody is ready to take them, and no thread ever waits for a
// reader.
//
//     held --Open--> idle --something to say--> busy --written--> idle ... --nothing left and
//     over--> ended
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "denoised/v1/image_generation.pb.h"
#include "server/engine/generation.h"
#include "server/rpc/call_watch.h"
#include "server/rpc/outbox.h"
#include "server/rpc/work_pool.h"
#include "server/telemetry/telemetry.h"

namespace denoise {

// What a stream has written so far.
struct StreamTotals {
  int images = 0;
  int frames_sent = 0;
  int frames_dropped = 0;
};

// Thread-safe. Shared by the engine, the pool's tasks and the call; whoever is last deletes it.
class EventStream final : public GenerationSink,
                          public WatchedCall,
                          public std::enable_shared_from_this<EventStream> {
 public:
  // The call. Lives until EndStream, which comes exactly once if the stream was opened, and last.
  class Writer {
   public:
    virtual void WriteEvent(denoised::v1::GenerateEvent event) = 0;  // answered by OnWritten
    virtual void EndStream(const absl::Status& status, const StreamTotals& totals) = 0;
    // Makes the write that is on its way fail. May not call the stream before it returns.
    virtual void BreakOff() = 0;

   protected:
    ~Writer() = default;
  };

  struct Options {
    denoised::v1::Encoding image_encoding = denoised::v1::ENCODING_PNG;
    denoised::v1::Encoding frame_encoding = denoised::v1::ENCODING_PNG;
    int frame_bytes_max = 0;  // larger frames, once encoded, are left out
    int steps_total = 0;      // over all images
    absl::Time arrival;       // of the request
    absl::Time deadline = absl::InfiniteFuture();
    absl::Duration write_time_max = absl::InfiniteDuration();  // for a reader to take one event
    Outbox::Limits outbox;
  };

  // All of these outlive the stream, except `writer`.
  EventStream(const Options& options, Writer* writer, WorkPool* pool, const Clock* clock,
              Telemetry* telemetry);

  // The first event, before the engine hears of the sink.
  void Accept(denoised::v1::Accepted accepted) ABSL_LOCKS_EXCLUDED(mutex_);

  // The engine has the request: writing begins. `cancel` makes the engine end it, and is called at
  // most once. Never called when the engine refused; then the stream just goes away.
  void Open(std::function<void()> cancel) ABSL_LOCKS_EXCLUDED(mutex_);

  // The event that the writer was given is on its way; not `ok`: the reader has gone.
  void OnWritten(bool ok) ABSL_LOCKS_EXCLUDED(mutex_);

  // The reader has gone, or has had enough. The stream ends once the engine has let go.
  void Cancel() ABSL_LOCKS_EXCLUDED(mutex_);

  void CancelIfStalled() override ABSL_LOCKS_EXCLUDED(mutex_);

  // GenerationSink, for the engine.
  void OnQueued(int position) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnStarted(absl::Duration queue_wait) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnStep(int image_index, int step) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnFrame(FrameUpdate frame) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnImage(ImageUpdate image) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnFinished(const absl::Status& status) override ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  enum class State { kHeld, kIdle, kBusy, kEnded };

  // What to do next, decided under the lock and done without it.
  struct Turn {
    std::optional<OutboxItem> item;   // to be written
    std::optional<absl::Status> end;  // or the end
    StreamTotals totals;              // with `end`
  };

  void Wake() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteNext() ABSL_LOCKS_EXCLUDED(mutex_);
  Turn NextTurn() ABSL_LOCKS_EXCLUDED(mutex_);
  std::optional<OutboxItem> NextItem() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<denoised::v1::GenerateEvent> MakeEvent(OutboxItem item) const;
  void Stamp(denoised::v1::GenerateEvent& event) ABSL_LOCKS_EXCLUDED(mutex_);
  bool Stalled() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status EndStatus() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  StreamTotals Totals() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Abandon(absl::Status why) ABSL_LOCKS_EXCLUDED(mutex_);

  const Options options_;
  Writer* const writer_;
  WorkPool* const pool_;
  const Clock* const clock_;
  Telemetry* const telemetry_;

  mutable Mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kHeld;
  absl::Time write_began_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();  // of the one under way
  Outbox outbox_ ABSL_GUARDED_BY(mutex_);
  std::function<void()> cancel_ ABSL_GUARDED_BY(mutex_);
  absl::Status abandoned_ ABSL_GUARDED_BY(mutex_);  // not OK: nothing more is written, and why
  std::optional<absl::Status> finished_ ABSL_GUARDED_BY(mutex_);  // what the engine said
  bool said_finished_ ABSL_GUARDED_BY(mutex_) = false;            // the last event has been taken
  int64_t next_sequence_ ABSL_GUARDED_BY(mutex_) = 0;
  int steps_done_ ABSL_GUARDED_BY(mutex_) = 0;
  int images_done_ ABSL_GUARDED_BY(mutex_) = 0;
  int images_sent_ ABSL_GUARDED_BY(mutex_) = 0;
  int frames_sent_ ABSL_GUARDED_BY(mutex_) = 0;
  int frames_too_large_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace denoise
