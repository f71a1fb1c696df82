#include "server/rpc/pause_call.h"

#include <exception>
#include <functional>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/base/thread_order.h"
#include "server/rpc/caller_identity.h"
#include "server/rpc/handover_event.h"
#include "server/rpc/unary_answer.h"

namespace denoise {

namespace v1 = denoised::v1;

PauseCall::PauseCall(const GenerationEnvironment& environment, grpc::CallbackServerContext* context,
                     const v1::PauseGenerationRequest& request,
                     v1::PauseGenerationResponse* response)
    : environment_(environment),
      counted_(environment.calls.counts.unary),
      context_(context),
      record_(RecordOf(*context)),
      name_(request.name()),
      response_(response) {
  environment_.calls.live_calls->Add();
  if (const absl::Status status = Begin(request); !status.ok()) End(status);
}

absl::Status PauseCall::Begin(const v1::PauseGenerationRequest& request) {
  ASSIGN_OR_RETURN(Identity caller, IdentifyCaller(environment_.calls.access, *context_));
  const std::function<void()> wake = [target = wake_target_, pool = environment_.calls.pool] {
    if (target->scheduled.exchange(true)) return;
    pool->Schedule([target] { Look(*target); });
  };
  ASSIGN_OR_RETURN(std::unique_ptr<Generations::Reader> reader,
                   environment_.generations->Pause(request, {.arrival = record_->arrival(),
                                                             .wake = wake,
                                                             .identity = std::move(caller),
                                                             .trace_id = record_->trace_id()}));
  BeforeHandOver(this);
  {
    const MutexLock lock(wake_target_->mutex);
    reader_ = std::move(reader);
    wake_target_->call = this;
  }
  wake();  // the log may have said everything by now
  return absl::OkStatus();
}

// On the pool.
void PauseCall::Look(WakeTarget& target) {
  target.scheduled = false;
  PauseCall* call = nullptr;
  std::optional<Result> result;
  {
    const MutexLock lock(target.mutex);
    if (target.call == nullptr) return;
    AfterHandOver(target.call);
    result = target.call->Read();
    if (!result) return;
    call = std::exchange(target.call, nullptr);
  }
  call->End(*std::move(result));
}

// Nullopt while the generation has not ended.
std::optional<PauseCall::Result> PauseCall::Read() {
  try {
    while (std::optional<GenerationLog::Event> event = reader_->Next()) {
      if (std::holds_alternative<GenerationLog::Handover>(event->what)) handover_ = event;
    }
    if (!reader_->over()) return std::nullopt;
    return Answer();
  } catch (const std::exception& error) {  // a library's, or memory ran out
    return absl::InternalError(absl::StrCat("cannot seal the generation: ", error.what()));
  }
}

PauseCall::Result PauseCall::Answer() {
  if (!handover_) {
    return absl::FailedPreconditionError(
        absl::StrCat(name_, " ended before it could be paused: there is nothing to continue"));
  }
  v1::Handover sealed =
      SealEvent(std::get<GenerationLog::Handover>(handover_->what), handover_->sequence,
                handover_->time, *reader_, record_->trace_id(), environment_);
  reader_->Leave();
  v1::PauseGenerationResponse response;
  *response.mutable_generation() = reader_->Describe();
  response.set_token(std::move(*sealed.mutable_token()));
  *response.mutable_expire_time() = std::move(*sealed.mutable_expire_time());
  return response;
}

void PauseCall::End(Result result) {
  BeforeHandOver(this);
  FinishCall(context_, this, std::move(result), response_);
}

void PauseCall::OnCancel() {
  AfterHandOver(this);
  {
    const MutexLock lock(wake_target_->mutex);
    if (std::exchange(wake_target_->call, nullptr) == nullptr) return;
  }
  End(WithDeadline(CallerGone(), DeadlineOf(*context_), environment_.calls.clock->Now()));
}

void PauseCall::OnDone() {
  AfterHandOver(this);
  LiveCalls* const live_calls = environment_.calls.live_calls;
  delete this;
  live_calls->Remove();
}

}  // namespace denoise
