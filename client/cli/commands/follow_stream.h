// From a stream of events to files, lines of JSON and the terminal, one event after the other.
#pragma once

#include <cstdio>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cli/commands/output_folder.h"
#include "client/cli/display/generation_display.h"
#include "client/cli/display/picture_history.h"
#include "client/cli/flags/generate_flags.h"
#include "client/server_stream.h"
#include "core/base/status_macros.h"
#include "denoised/v1/image_generation.pb.h"
#include "denoised/v1/training.pb.h"

namespace denoise {

// The folder that these flags name, or leave to us.
absl::StatusOr<OutputFolder> OpenOutputFolder(const OutputFlags& flags, OutputRun run);

// An event as one line of JSON without its newline: protobuf's JSON mapping with the names of the
// .proto file (64-bit numbers are strings), every field present. The bytes of a picture are
// replaced by the "path" and "size_bytes" of the file it was written to, if it was. Tokens are left
// out.
std::string EventJson(const denoised::v1::GenerateEvent& event, const WrittenFile& file);
std::string EventJson(const denoised::v1::DiffuseEvent& event, const WrittenFile& file);
std::string EventJson(const denoised::v1::TrainingEvent& event, const WrittenFile& file);

// Takes events until the stream ends. Each goes to `recorder`, whose Record returns the file that
// it wrote; as a line to standard output if `json`; and then to `on_event`.
template <class Event, class Recorder, class OnEvent>
absl::Status FollowStream(ServerStream<Event>& stream, Recorder& recorder, bool json,
                          OnEvent on_event) {
  while (true) {
    ASSIGN_OR_RETURN(const std::optional<Event> event, stream.Next());
    if (!event.has_value()) return absl::OkStatus();
    ASSIGN_OR_RETURN(const WrittenFile file, recorder.Record(*event));
    if (json) {
      std::puts(EventJson(*event, file).c_str());
      std::fflush(stdout);
    }
    on_event(*event);
  }
}

// What people and scripts see of a generation while it runs: pictures and progress on standard
// error, or lines of JSON on standard output, as the flags and the terminal say. Where standard
// error is no terminal, a line of progress every ten seconds. Not thread-safe.
class GenerationView {
 public:
  explicit GenerationView(const OutputFlags& flags);

  // Takes events to the end of the stream. `recorder` has Record(event) and history(), as
  // GenerationRecorder does.
  template <class Recorder>
  absl::Status Follow(GenerateStream& stream, Recorder& recorder) {
    display_.Draw(progress_, recorder.history());
    const absl::Status status = FollowStream(
        stream, recorder, json_,
        [&](const denoised::v1::GenerateEvent& event) { Show(event, recorder.history()); });
    display_.Close(progress_, recorder.history());
    return status;
  }

  // For a stream that begins after its `accepted`.
  void Accept(const denoised::v1::GenerateEvent& accepted);

  const denoised::v1::Finished& finished() const { return finished_; }
  // Of the latest event; nullopt before the first.
  std::optional<int64_t> last_sequence() const { return last_sequence_; }

 private:
  void Show(const denoised::v1::GenerateEvent& event, const PictureHistory* history);

  const bool json_;
  GenerationProgress progress_;
  denoised::v1::Finished finished_;
  std::optional<int64_t> last_sequence_;
  absl::Time last_line_;
  GenerationDisplay display_;
};

// Says on standard error that a generation continues although the command has been interrupted.
void ReportContinues(const std::string& generation);

// How to continue it, where `status` says that it was paused. Returns whether it does.
bool ReportPaused(const absl::Status& status);

}  // namespace denoise
