#include "server/rpc/watch_stream.h"

#include <optional>
#include <string>
#include <utility>

#include "core/base/status_macros.h"
#include "server/telemetry/log.h"

namespace denoise {

WatchStream::WatchStream(const TurnEnvironment& environment, grpc::CallbackServerContext* context,
                         TrainingJobs* jobs, const denoised::v1::WatchTrainingJobRequest* request)
    : TurnStream(environment, context),
      live_calls_(environment.live_calls),
      jobs_(jobs),
      request_(request) {
  Begin(live_calls_->Admit());
}

absl::StatusOr<WatchStream::Outcome> WatchStream::TakeTurn() {
  RETURN_IF_ERROR(live_calls_->Admit());  // a watcher must not hold a draining server up
  if (!watcher_) {
    ASSIGN_OR_RETURN(watcher_, jobs_->Watch(*request_, waker()));
  }
  ASSIGN_OR_RETURN(std::optional<denoised::v1::TrainingEvent> event, watcher_->Next());
  if (event) {
    ++events_;
    return *std::move(event);
  }
  if (watcher_->over()) return Over();
  return Wait();
}

void WatchStream::OnEnd(const absl::Status& status) {
  LogEvent(WithholdsMessage(status) ? spdlog::level::err : spdlog::level::info, "watch finished",
           {{"request", request_id()},
            {"job", request_->name()},
            {"code", absl::StatusCodeToString(status.code())},
            {"message", std::string(status.message())},
            {"events", events_}});
}

}  // namespace denoise
