// A server-streaming call that does its work in turns on the picture pool, one after the other. An
// event is made only once the one before has been taken, so a slow reader costs nothing but its
// call; a turn that has nothing to say yet waits until it is woken.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <variant>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "core/base/thread_order.h"
#include "server/rpc/call_end.h"
#include "server/rpc/call_watch.h"
#include "server/rpc/live_calls.h"
#include "server/rpc/request_id.h"
#include "server/rpc/stalled_call.h"
#include "server/rpc/status_mapping.h"
#include "server/rpc/work_pool.h"

namespace denoise {

// What such calls need; outlives all of them.
struct TurnEnvironment {
  WorkPool* pool;
  const Clock* clock;
  LiveCalls* live_calls;
  CallWatch* call_watch;
  absl::Duration write_time_max;  // for a reader to take one event
};

// Deletes itself when gRPC is done with it. Never blocks one of gRPC's threads.
template <class Event>
class TurnStream : public grpc::ServerWriteReactor<Event> {
 public:
  void OnWriteDone(bool ok) final;
  void OnCancel() final;
  void OnDone() final;

 protected:
  struct Again {};  // nothing to say, more to do
  struct Wait {};   // nothing to do until woken
  struct Over {};   // the stream ends as it should
  using Outcome = std::variant<Event, Again, Wait, Over>;

  // `context` is gRPC's, and lives until OnDone.
  TurnStream(const TurnEnvironment& environment, grpc::CallbackServerContext* context);
  ~TurnStream() override = default;

  // The last word of the constructor: the turns begin, or the call ends with `status`.
  void Begin(const absl::Status& status);

  // On the pool. What it throws ends the call as INTERNAL.
  virtual absl::StatusOr<Outcome> TakeTurn() = 0;
  // The call is about to end with `status`: the log and the metrics hear of it. On any thread.
  virtual void OnEnd(const absl::Status& status) = 0;
  // gRPC is done with the call; what was held for it is given back.
  virtual void OnRelease() {}

  // Gives the call a turn, if it waits for one now or next. May be called from any thread, and after
  // the call is over.
  std::function<void()> waker() const;

  const std::string& request_id() const { return request_id_; }
  absl::Time arrival() const { return arrival_; }

 private:
  // What others hold of the call, to wake it even after it is over.
  struct Link {
    Mutex mutex;
    TurnStream* call ABSL_GUARDED_BY(mutex);  // null once it goes away
  };

  void RunTurn();
  absl::StatusOr<Outcome> CaughtTurn();
  void ScheduleTurn();
  void Write(Event event);
  void WaitForWake() ABSL_LOCKS_EXCLUDED(mutex_);
  void Woken() ABSL_LOCKS_EXCLUDED(mutex_);
  void End(const absl::Status& status);

  const TurnEnvironment environment_;
  grpc::CallbackServerContext* const context_;
  const std::string request_id_;
  const absl::Time arrival_;
  const std::shared_ptr<StalledCall> reader_;
  const std::shared_ptr<Link> link_ = std::make_shared<Link>();
  std::atomic<bool> cancelled_ = false;
  Event event_;  // being written

  Mutex mutex_;
  bool waiting_ ABSL_GUARDED_BY(mutex_) = false;  // no turn is under way or scheduled
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;    // while one was: the next wait is none
};

template <class Event>
TurnStream<Event>::TurnStream(const TurnEnvironment& environment,
                              grpc::CallbackServerContext* context)
    : environment_(environment),
      context_(context),
      request_id_(NewRequestId()),
      arrival_(environment.clock->Now()),
      reader_(
          std::make_shared<StalledCall>(context, environment.clock, environment.write_time_max)) {
  environment_.live_calls->Add();
  const MutexLock lock(link_->mutex);
  link_->call = this;
}

template <class Event>
void TurnStream<Event>::Begin(const absl::Status& status) {
  if (!status.ok()) return End(status);
  environment_.call_watch->Add(reader_);
  ScheduleTurn();
}

template <class Event>
std::function<void()> TurnStream<Event>::waker() const {
  return [link = link_] {
    const MutexLock lock(link->mutex);
    if (link->call != nullptr) link->call->Woken();
  };
}

template <class Event>
void TurnStream<Event>::ScheduleTurn() {
  BeforeHandOver(this);
  environment_.pool->Schedule([this] {
    AfterHandOver(this);
    RunTurn();
  });
}

template <class Event>
void TurnStream<Event>::RunTurn() {
  if (cancelled_) {
    return End(WithDeadline(absl::CancelledError("the caller has gone"), DeadlineOf(*context_),
                            environment_.clock->Now()));
  }
  absl::StatusOr<Outcome> outcome = CaughtTurn();
  if (!outcome.ok()) return End(outcome.status());
  if (std::holds_alternative<Over>(*outcome)) return End(absl::OkStatus());
  if (std::holds_alternative<Again>(*outcome)) return ScheduleTurn();
  if (std::holds_alternative<Wait>(*outcome)) return WaitForWake();
  Write(std::get<Event>(*std::move(outcome)));
}

template <class Event>
absl::StatusOr<typename TurnStream<Event>::Outcome> TurnStream<Event>::CaughtTurn() {
  try {
    return TakeTurn();
  } catch (const std::exception& error) {  // a library's, or memory ran out
    return absl::InternalError(absl::StrCat("a turn failed: ", error.what()));
  }
}

template <class Event>
void TurnStream<Event>::Write(Event event) {
  event_ = std::move(event);
  reader_->BeginWait();
  BeforeHandOver(this);
  this->StartWrite(&event_);
}

template <class Event>
void TurnStream<Event>::WaitForWake() {
  {
    const MutexLock lock(mutex_);
    waiting_ = !std::exchange(woken_, false);
    if (waiting_) return;
  }
  ScheduleTurn();
}

template <class Event>
void TurnStream<Event>::Woken() {
  {
    const MutexLock lock(mutex_);
    if (!std::exchange(waiting_, false)) {
      woken_ = true;
      return;
    }
  }
  ScheduleTurn();
}

template <class Event>
void TurnStream<Event>::End(const absl::Status& status) {
  OnEnd(status);
  grpc::Status grpc_status = ToGrpcStatus(status, request_id_, *context_);
  BeforeHandOver(this);
  this->Finish(std::move(grpc_status));
}

template <class Event>
void TurnStream<Event>::OnWriteDone(bool ok) {
  AfterHandOver(this);
  reader_->EndWait();
  if (!ok) cancelled_ = true;
  ScheduleTurn();
}

template <class Event>
void TurnStream<Event>::OnCancel() {
  cancelled_ = true;
  Woken();
}

template <class Event>
void TurnStream<Event>::OnDone() {
  AfterHandOver(this);
  reader_->Leave();
  {
    const MutexLock lock(link_->mutex);
    link_->call = nullptr;
  }
  OnRelease();  // before anybody hears that the call is over
  environment_.live_calls->Remove();
  delete this;
}

}  // namespace denoise
