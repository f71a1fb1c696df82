#include "server/rpc/pause_call.h"

#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/base/thread_order.h"
#include "server/rpc/call_end.h"
#include "server/rpc/caller_identity.h"
#include "server/rpc/handover_event.h"

namespace denoise {

namespace v1 = denoised::v1;

PauseCall::PauseCall(const GenerationEnvironment& environment, grpc::CallbackServerContext* context,
                     const v1::PauseGenerationRequest& request,
                     v1::PauseGenerationResponse* response)
    : UnaryCall(environment.calls, context),
      environment_(environment),
      context_(context),
      name_(request.name()),
      response_(response),
      wait_(std::make_shared<HandoverWait>(environment.calls.pool,
                                           [this](auto outcome) { OnOver(std::move(outcome)); })) {
  const absl::Status status =
      CatchAsInternal("cannot pause the generation", [&] { return Begin(request); });
  if (!status.ok()) End(Result(status), response_);
}

absl::Status PauseCall::Begin(const v1::PauseGenerationRequest& request) {
  ASSIGN_OR_RETURN(Identity caller, IdentifyCaller(environment_.calls.access, *context_));
  ASSIGN_OR_RETURN(
      std::unique_ptr<Generations::Reader> reader,
      environment_.generations->Pause(request, {.arrival = record().arrival(),
                                                .wake = [wait = wait_] { wait->Wake(); },
                                                .identity = std::move(caller),
                                                .trace_id = record().trace_id()}));
  BeforeHandOver(this);
  wait_->Begin(std::move(reader));
  return absl::OkStatus();
}

// On the pool. A caller that leaves meanwhile does not wait for this: sealing takes a while.
void PauseCall::OnOver(absl::StatusOr<HandoverWait::Outcome> outcome) {
  AfterHandOver(this);
  End(CatchAsInternal("cannot seal the generation",
                      [&]() -> Result {
                        RETURN_IF_ERROR(outcome.status());
                        reader_ = std::move(outcome->reader);
                        return Answer(outcome->handover);
                      }),
      response_);
}

PauseCall::Result PauseCall::Answer(const std::optional<GenerationLog::Event>& handover) const {
  record().Add(
      {{"generation", reader_->full_name()}, {"origin_trace_id", reader_->origin_trace_id()}});
  if (!handover) {
    return absl::FailedPreconditionError(
        absl::StrCat(name_, " ended before it could be paused: there is nothing to continue"));
  }
  v1::Handover sealed = SealEvent(std::get<GenerationLog::Handover>(handover->what),
                                  handover->sequence, handover->time, *reader_, environment_);
  reader_->Leave();
  v1::PauseGenerationResponse response;
  *response.mutable_generation() = reader_->Describe();
  response.set_token(std::move(*sealed.mutable_token()));
  *response.mutable_expire_time() = std::move(*sealed.mutable_expire_time());
  return response;
}

void PauseCall::OnCancel() {
  AfterHandOver(this);
  if (!wait_->GiveUp()) return;  // an answer is on its way
  End(Result(WithDeadline(CallerGone(), DeadlineOf(*context_), environment_.calls.clock->Now())),
      response_);
}

}  // namespace denoise
