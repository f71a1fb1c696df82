#include "client/cli/commands/watch_models.h"

#include <cstdio>
#include <optional>
#include <string>

#include "client/cli/commands/reconnector.h"
#include "client/cli/display/model_text.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

absl::Status PrintLine(const std::string& line) {
  std::puts(line.c_str());
  if (std::fflush(stdout) == 0) return absl::OkStatus();
  return absl::DataLossError("standard output cannot be written to");
}

// A server that shuts down cancels the streams that it has left.
bool ServerIsAway(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsCancelled(status);
}

// One watch, over as many streams as it takes.
class Watch {
 public:
  Watch(Client& client, bool json, Interrupts& interrupts)
      : client_(client), json_(json), interrupts_(interrupts), reconnector_(interrupts) {}

  absl::Status Run() {
    absl::Status status;
    do {
      status = Follow();
    } while (has_events_ && ServerIsAway(status) && reconnector_.Wait([] {}));
    interrupts_.SetHandler(nullptr);
    return status;
  }

 private:
  absl::Status Follow() {
    ModelStream stream = client_.WatchModels();
    interrupts_.SetHandler([&stream] { stream.Cancel(); });
    const absl::Status status = interrupts_.interrupted() ? absl::CancelledError() : Take(stream);
    interrupts_.SetHandler([] {});  // Run checks between streams
    return status;
  }

  absl::Status Take(ModelStream& stream) {
    news_.BeginStream();
    while (true) {
      ASSIGN_OR_RETURN(const std::optional<v1::ModelEvent> event, stream.Next());
      if (!event.has_value()) return absl::OkStatus();
      has_events_ = true;
      reconnector_.OnEvent();
      RETURN_IF_ERROR(Show(*event));
    }
  }

  absl::Status Show(const v1::ModelEvent& event) {
    if (json_) return PrintLine(ModelEventJson(event));
    for (const std::string& line : news_.Add(event)) RETURN_IF_ERROR(PrintLine(line));
    return absl::OkStatus();
  }

  Client& client_;
  const bool json_;
  Interrupts& interrupts_;
  Reconnector reconnector_;
  ModelNews news_;
  bool has_events_ = false;
};

}  // namespace

absl::Status WatchModels(Client& client, bool json, Interrupts& interrupts) {
  return Watch(client, json, interrupts).Run();
}

}  // namespace denoise
