#include "server/rpc/event_stream.h"

#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "server/rpc/call_end.h"
#include "server/rpc/events.h"

namespace denoise {

using denoised::v1::GenerateEvent;

namespace {}  // namespace

EventStream::EventStream(const Options& options, Writer* writer, WorkPool* pool, const Clock* clock,
                         Telemetry* telemetry)
    : options_(options),
      writer_(writer),
      pool_(pool),
      clock_(clock),
      telemetry_(telemetry),
      outbox_(options.outbox) {}

void EventStream::Accept(denoised::v1::Accepted accepted) {
  GenerateEvent event;
  *event.mutable_accepted() = std::move(accepted);
  MutexLock lock(mutex_);
  outbox_.PushEvent(std::move(event));
}

void EventStream::Open(std::function<void()> cancel) {
  {
    MutexLock lock(mutex_);
    state_ = State::kIdle;
    Wake();
    if (abandoned_.ok()) {
      cancel_ = std::move(cancel);
      return;
    }
  }
  cancel();  // the reader left before the engine had answered
}

void EventStream::OnWritten(bool ok) {
  if (!ok) Cancel();
  MutexLock lock(mutex_);
  write_began_ = absl::InfiniteFuture();
  state_ = State::kIdle;
  Wake();
}

void EventStream::CancelIfStalled() {
  {
    MutexLock lock(mutex_);
    if (!Stalled()) return;
  }
  Abandon(absl::CancelledError(absl::StrCat("the reader has taken nothing for ",
                                            absl::FormatDuration(options_.write_time_max))));
  // Under the lock the write stays unanswered, so that the writer is still there.
  MutexLock lock(mutex_);
  if (Stalled()) writer_->BreakOff();
}

void EventStream::Cancel() { Abandon(absl::CancelledError("the caller has gone")); }

void EventStream::OnQueued(int position) {
  MutexLock lock(mutex_);
  if (!abandoned_.ok()) return;
  outbox_.PushQueuePosition(position);
  Wake();
}

void EventStream::OnStarted(absl::Duration queue_wait) {
  telemetry_->QueueWaited(queue_wait);
  MutexLock lock(mutex_);
  if (!abandoned_.ok()) return;
  outbox_.PushEvent(StartedEvent(queue_wait));
  Wake();
}

void EventStream::OnStep(int /*image_index*/, int /*step*/) {
  const absl::Time now = clock_->Now();
  MutexLock lock(mutex_);
  ++steps_done_;
  if (!abandoned_.ok()) return;
  outbox_.PushProgress(now);
  Wake();
}

void EventStream::OnFrame(FrameUpdate frame) {
  MutexLock lock(mutex_);
  if (!abandoned_.ok()) return;
  outbox_.PushFrame(std::move(frame));
  Wake();
}

void EventStream::OnImage(ImageUpdate image) {
  MutexLock lock(mutex_);
  ++images_done_;
  if (!abandoned_.ok()) return;
  outbox_.PushImage(std::move(image));
  Wake();
}

void EventStream::OnFinished(const absl::Status& status) {
  MutexLock lock(mutex_);
  finished_ = status;
  Wake();
}

// At most one task of a stream is in the pool: it is made when the stream turns busy.
void EventStream::Wake() {
  if (state_ != State::kIdle || (outbox_.empty() && !finished_)) return;
  state_ = State::kBusy;
  pool_->Schedule([self = shared_from_this()] { self->WriteNext(); });
}

// On the pool. Nothing touches the writer after EndStream.
void EventStream::WriteNext() {
  while (true) {
    Turn turn = NextTurn();
    if (turn.end) return writer_->EndStream(*turn.end, turn.totals);
    if (!turn.item) return;
    absl::StatusOr<GenerateEvent> event = MakeEvent(*std::move(turn.item));
    if (!event.ok()) {
      Abandon(absl::InternalError(std::string(event.status().message())));
      continue;
    }
    if (event->has_frame() &&
        event->frame().image().data().size() > static_cast<size_t>(options_.frame_bytes_max)) {
      MutexLock lock(mutex_);
      ++frames_too_large_;
      continue;
    }
    Stamp(*event);
    return writer_->WriteEvent(*std::move(event));
  }
}

// LibTorch throws where a sample is not what it should be, and anything where memory runs out.
absl::StatusOr<GenerateEvent> EventStream::MakeEvent(OutboxItem item) const {
  try {
    return ToEvent(std::move(item), options_.image_encoding, options_.frame_encoding);
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("cannot make an event: ", error.what()));
  }
}

EventStream::Turn EventStream::NextTurn() {
  MutexLock lock(mutex_);
  if (!abandoned_.ok()) outbox_.Clear();
  if (std::optional<OutboxItem> item = NextItem()) return {.item = std::move(item)};
  if (!finished_) {
    state_ = State::kIdle;
    return {};
  }
  state_ = State::kEnded;
  telemetry_->FramesDropped(Totals().frames_dropped);
  return {.end = EndStatus(), .totals = Totals()};
}

// News is written as it stands now, not as it stood when it came up.
std::optional<OutboxItem> EventStream::NextItem() {
  std::optional<OutboxItem> item = outbox_.Pop();
  if (!item && finished_ && !said_finished_ && EndStatus().ok()) {
    said_finished_ = true;
    const StreamTotals totals = Totals();
    return FinishedEvent(totals.images, totals.frames_sent, totals.frames_dropped,
                         clock_->Now() - options_.arrival);
  }
  if (item && std::holds_alternative<ProgressMark>(*item)) {
    return ProgressEvent(steps_done_, options_.steps_total, images_done_);
  }
  return item;
}

// The last thing before the write, whose time begins here.
void EventStream::Stamp(GenerateEvent& event) {
  const absl::Time now = clock_->Now();
  MutexLock lock(mutex_);
  write_began_ = now;
  event.set_sequence(next_sequence_++);
  SetTime(now, event);
  if (event.has_image()) {
    ++images_sent_;
    telemetry_->ImageSent();
  }
  if (event.has_frame()) {
    if (frames_sent_++ == 0) telemetry_->FirstFrameSent(now - options_.arrival);
    telemetry_->FrameSent();
  }
}

absl::Status EventStream::EndStatus() const {
  return WithDeadline(abandoned_.ok() || said_finished_ ? *finished_ : abandoned_,
                      options_.deadline, clock_->Now());
}

StreamTotals EventStream::Totals() const {
  return {.images = images_sent_,
          .frames_sent = frames_sent_,
          .frames_dropped = outbox_.frames_dropped() + frames_too_large_};
}

bool EventStream::Stalled() const { return clock_->Now() - write_began_ > options_.write_time_max; }

// The first reason stands. The engine still has to let go: EndStream waits for OnFinished.
void EventStream::Abandon(absl::Status why) {
  std::function<void()> cancel;
  {
    MutexLock lock(mutex_);
    if (!abandoned_.ok()) return;
    abandoned_ = std::move(why);
    outbox_.Clear();
    cancel = std::exchange(cancel_, nullptr);
  }
  if (cancel) cancel();
}

}  // namespace denoise
