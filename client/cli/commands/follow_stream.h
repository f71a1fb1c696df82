// From a stream to files, one event after the other.
#pragma once

#include <cstdio>
#include <optional>

#include "absl/status/status.h"
#include "client/cli/commands/event_json.h"
#include "client/cli/commands/output_folder.h"
#include "client/server_stream.h"
#include "core/base/status_macros.h"

namespace denoise {

// Takes events until the stream ends. Each goes to `recorder`, whose Record returns the file that it
// wrote, to scripts as a line on standard output where `json`, and then to `seen`.
template <class Event, class Recorder, class Seen>
absl::Status FollowStream(ServerStream<Event>& stream, Recorder& recorder, bool json, Seen seen) {
  while (true) {
    ASSIGN_OR_RETURN(const std::optional<Event> event, stream.Next());
    if (!event.has_value()) return absl::OkStatus();
    ASSIGN_OR_RETURN(const WrittenFile file, recorder.Record(*event));
    if (json) {
      std::puts(EventJson(*event, file).c_str());
      std::fflush(stdout);
    }
    seen(*event);
  }
}

}  // namespace denoise
