// How a generation is paused: a drain of that one.
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "core/base/error_details.h"
#include "core/base/status_macros.h"
#include "server/generations/generation.h"
#include "server/generations/generations.h"

namespace denoise {

namespace v1 = denoised::v1;

absl::StatusOr<std::unique_ptr<Generations::Reader>> Generations::Pause(
    const v1::PauseGenerationRequest& request, const Caller& caller) {
  std::unique_ptr<Reader> reader;  // attached before anything is asked of the engine
  std::optional<Engine::Id> id;
  {
    const MutexLock lock(mutex_);
    ASSIGN_OR_RETURN(const GenerationRef generation, Find(request.name(), caller.identity));
    const GenerationLog::Snapshot now = generation->log.snapshot();
    if (!now.paused) RETURN_IF_ERROR(CheckPausable(request.name(), *generation, now));
    ASSIGN_OR_RETURN(reader, AddPayingReader(generation, -1, caller));
    if (now.paused) return reader;
    RETURN_IF_ERROR(generation->log.RequestPause());
    generation->pause_requested = true;
    id = generation->engine_id;
  }
  if (id) environment_.pause(*id);
  return reader;
}

absl::Status Generations::CheckPausable(const std::string& name, const Generation& generation,
                                        const GenerationLog::Snapshot& now) const {
  if (now.ended) {
    return absl::FailedPreconditionError(
        absl::StrCat(name, " has ended: there is nothing to pause"));
  }
  if (generation.cancel_requested) {
    return absl::FailedPreconditionError(absl::StrCat(name, " is being cancelled"));
  }
  if (generation.plan != nullptr) return absl::OkStatus();
  std::string why =
      "it was started without accept_handover, so no room is kept for its state. Let it finish or "
      "cancel it, and set accept_handover in requests that you want to pause";
  if (environment_.handover_bytes == 0) {
    why =
        "this server has no key for tokens. Let it finish or cancel it, and start the server with "
        "--handover-key to pause later ones";
  } else if (generation.accepts_handover) {
    why =
        "its request leaves no room for its state in a token of at most --max-receive-bytes. Let "
        "it "
        "finish or cancel it, and raise that flag or send smaller pictures";
  }
  return WithErrorReason(
      absl::FailedPreconditionError(absl::StrCat(name, " cannot be paused: ", why)),
      "PAUSE_UNAVAILABLE");
}

}  // namespace denoise
