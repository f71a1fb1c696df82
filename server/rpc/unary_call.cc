#include "server/rpc/unary_call.h"

#include "core/base/thread_order.h"
#include "server/rpc/call_end.h"
#include "server/telemetry/log.h"

namespace denoise {

UnaryCall::UnaryCall(const CallEnvironment& environment, grpc::CallbackServerContext* context)
    : counted_(environment.counts.unary),
      live_calls_(environment.live_calls),
      context_(context),
      record_(RecordOf(*context)),
      watched_call_(
          std::make_shared<WatchedCall>(context, environment.clock, environment.write_time_max)) {
  live_calls_->Add();
  environment.call_watch->Add(watched_call_);
}

void UnaryCall::FinishWith(absl::FunctionRef<absl::Status()> answer) {
  grpc::Status last = LastStatus(*record_, *context_, [&] {
    const absl::Status status = answer();
    if (!status.ok()) LogRefusal(*record_, status);
    return status;
  });
  watched_call_->BeginWait();  // which OnDone ends
  BeforeHandOver(this);
  Finish(std::move(last));
}

void UnaryCall::OnDone() {
  AfterHandOver(this);
  watched_call_->Leave();
  if (watched_call_->stalled()) {  // of which nothing else tells: the answer may have been OK
    LogEvent(spdlog::level::warn, "answer not read",
             {{"request", record_->id()}, {"trace_id", record_->trace_id()}});
  }
  LiveCalls* const live_calls = live_calls_;
  delete this;
  live_calls->Remove();
}

}  // namespace denoise
