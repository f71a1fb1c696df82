// A server-streaming call: it takes events from a source, one after the other, and writes them at
// the reader's pace. Generate, Diffuse and the watches differ in their sources only.
//
// The source is asked for the next event on the pool, and only once the event before has been
// taken. So at most one event is being made or written at a time, pictures are encoded only for
// readers who are ready for them, and no thread ever waits for a reader. A source that has nothing
// to say wakes the stream once it has.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <variant>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "core/base/mutex.h"
#include "core/base/object_count.h"
#include "core/base/status_macros.h"
#include "core/base/thread_order.h"
#include "server/rpc/call.h"
#include "server/rpc/call_end.h"
#include "server/rpc/call_record.h"
#include "server/rpc/caller_identity.h"

namespace denoise {

// Where a stream's events come from. The stream owns it and asks it for one thing at a time; it
// goes away with the call.
template <class Event>
class EventSource {
 public:
  struct Again {};  // nothing to say yet; ask again
  struct Wait {};   // nothing to say until the call is woken
  struct Over {};   // the stream ends as it should
  using Outcome = std::variant<Event, Again, Wait, Over>;

  virtual ~EventSource() = default;

  // On gRPC's thread, so it must be quick. An error ends the call before its first event.
  virtual absl::Status Start() { return absl::OkStatus(); }

  // On the pool. An error ends the call; what it throws ends it as INTERNAL.
  virtual absl::StatusOr<Outcome> Next() = 0;

  // On the pool: the caller has gone, and Next is not called again. Returns what the call ends
  // with; nullopt to be asked again once the call is woken.
  virtual std::optional<absl::Status> OnCallerGone() { return CallerGone(); }

  // The call is about to end with `status`, for the log and the metrics.
  virtual void OnEnd(const absl::Status& status) = 0;
};

// Deletes itself when gRPC is done with it. Never blocks one of gRPC's threads.
template <class Event>
class EventStream final : public grpc::ServerWriteReactor<Event> {
 public:
  using MakeSource = std::function<std::unique_ptr<EventSource<Event>>(Call call)>;

  // `context` is gRPC's, and lives until OnDone, as the call's request does.
  EventStream(const CallEnvironment& environment, grpc::CallbackServerContext* context,
              const MakeSource& make_source);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  using Source = EventSource<Event>;
  using Outcome = typename Source::Outcome;

  // What those who wake the stream hold of it: safe to use after the stream is gone.
  struct WakeTarget {
    Mutex mutex;
    EventStream* stream ABSL_GUARDED_BY(mutex);  // null once it goes away
  };

  ~EventStream() override = default;

  std::function<void()> Waker();
  absl::Status Start(const MakeSource& make_source);
  void ScheduleNext();
  void WriteNext();
  void EndCancelled();
  void Write(Event event);
  void WaitForWake() ABSL_LOCKS_EXCLUDED(mutex_);
  void Woken() ABSL_LOCKS_EXCLUDED(mutex_);
  void End(const absl::Status& status);

  const CallEnvironment environment_;
  const CountedObject counted_;
  grpc::CallbackServerContext* const context_;
  const std::shared_ptr<CallRecord> record_;
  const std::shared_ptr<WatchedCall> watched_call_;
  const std::shared_ptr<WakeTarget> wake_target_ = std::make_shared<WakeTarget>();
  std::unique_ptr<Source> source_;  // null for callers who may not make the call
  std::atomic<bool> cancelled_ = false;
  Event event_;  // being written

  Mutex mutex_;
  bool waiting_ ABSL_GUARDED_BY(mutex_) = false;  // nothing is under way or scheduled
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;    // while something was: the next wait is none
};

template <class Event>
EventStream<Event>::EventStream(const CallEnvironment& environment,
                                grpc::CallbackServerContext* context, const MakeSource& make_source)
    : environment_(environment),
      counted_(environment.counts.streams),
      context_(context),
      record_(RecordOf(*context)),
      watched_call_(
          std::make_shared<WatchedCall>(context, environment.clock, environment.write_time_max)) {
  environment_.live_calls->Add();
  environment_.call_watch->Add(watched_call_);
  const absl::Status status =
      CatchAsInternal("cannot start the call", [&] { return Start(make_source); });
  if (!status.ok()) {
    End(status);
    return;
  }
  ScheduleNext();
}

template <class Event>
std::function<void()> EventStream<Event>::Waker() {
  {
    const MutexLock lock(wake_target_->mutex);
    wake_target_->stream = this;
  }
  return [target = wake_target_] {
    const MutexLock lock(target->mutex);
    if (target->stream != nullptr) target->stream->Woken();
  };
}

template <class Event>
absl::Status EventStream<Event>::Start(const MakeSource& make_source) {
  ASSIGN_OR_RETURN(Identity caller, IdentifyCaller(environment_.access, *context_));
  source_ = make_source({.record = record_,
                         .arrival = environment_.clock->Now(),
                         .caller = std::move(caller),
                         .deadline = DeadlineOf(*context_),
                         .wake = Waker()});
  RETURN_IF_ERROR(environment_.live_calls->AdmitNewCall());
  return source_->Start();
}

template <class Event>
void EventStream<Event>::ScheduleNext() {
  BeforeHandOver(this);
  environment_.pool->Schedule([this] {
    AfterHandOver(this);
    const absl::Status status = CatchAsInternal("cannot continue the call", [this] {
      WriteNext();
      return absl::OkStatus();
    });
    if (!status.ok()) End(status);
  });
}

template <class Event>
void EventStream<Event>::WriteNext() {
  if (cancelled_) return EndCancelled();
  absl::StatusOr<Outcome> outcome =
      CatchAsInternal("cannot make an event", [this] { return source_->Next(); });
  if (!outcome.ok()) return End(outcome.status());
  if (std::holds_alternative<typename Source::Over>(*outcome)) return End(absl::OkStatus());
  if (std::holds_alternative<typename Source::Again>(*outcome)) return ScheduleNext();
  if (std::holds_alternative<typename Source::Wait>(*outcome)) return WaitForWake();
  Write(std::get<Event>(*std::move(outcome)));
}

template <class Event>
void EventStream<Event>::EndCancelled() {
  const std::optional<absl::Status> status = source_->OnCallerGone();
  if (!status) return WaitForWake();
  if (status->ok() || !watched_call_->stalled()) return End(*status);
  End(absl::CancelledError(absl::StrCat("the reader has taken nothing for ",
                                        absl::FormatDuration(environment_.write_time_max))));
}

template <class Event>
void EventStream<Event>::Write(Event event) {
  event_ = std::move(event);
  watched_call_->BeginWait();
  BeforeHandOver(this);
  this->StartWrite(&event_);
}

template <class Event>
void EventStream<Event>::WaitForWake() {
  {
    const MutexLock lock(mutex_);
    waiting_ = !std::exchange(woken_, false);
    if (waiting_) return;
  }
  ScheduleNext();
}

template <class Event>
void EventStream<Event>::Woken() {
  {
    const MutexLock lock(mutex_);
    if (!std::exchange(waiting_, false)) {
      woken_ = true;
      return;
    }
  }
  ScheduleNext();
}

template <class Event>
void EventStream<Event>::End(const absl::Status& status) {
  grpc::Status last = LastStatus(*record_, *context_, [&] {
    const absl::Status told =
        WithDeadline(status, DeadlineOf(*context_), environment_.clock->Now());
    if (source_) {
      source_->OnEnd(told);
    } else {
      LogRefusal(*record_, told);
    }
    return told;
  });
  watched_call_->BeginWait();  // which OnDone ends: other calls may have filled the connection
  BeforeHandOver(this);
  this->Finish(std::move(last));
}

template <class Event>
void EventStream<Event>::OnWriteDone(bool ok) {
  AfterHandOver(this);
  watched_call_->EndWait();
  if (!ok) cancelled_ = true;
  ScheduleNext();
}

template <class Event>
void EventStream<Event>::OnCancel() {
  AfterHandOver(this);
  cancelled_ = true;
  Woken();
}

template <class Event>
void EventStream<Event>::OnDone() {
  AfterHandOver(this);
  watched_call_->Leave();
  {
    const MutexLock lock(wake_target_->mutex);
    wake_target_->stream = nullptr;
  }
  source_.reset();  // what the call held is free before anybody hears that it is over
  LiveCalls* const live_calls = environment_.live_calls;
  delete this;
  live_calls->Remove();
}

}  // namespace denoise
