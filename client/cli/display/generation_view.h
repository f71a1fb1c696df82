// What people and scripts see of a generation while it runs.
#pragma once

#include "absl/status/status.h"
#include "client/cli/commands/follow_stream.h"
#include "client/cli/display/live_display.h"
#include "client/cli/display/picture_history.h"
#include "client/cli/display/progress.h"
#include "client/cli/flags/generate_flags.h"
#include "client/server_stream.h"
#include "denoised/v1/image_generation.pb.h"

namespace denoise {

// Pictures and progress on standard error, or lines of JSON on standard output, as the flags and the
// terminal say. Not thread-safe.
class GenerationView {
 public:
  explicit GenerationView(const OutputFlags& flags);

  // Takes events to the end of the stream. `recorder` is a GenerationRecorder or the like, with
  // Record(event) and history().
  template <class Recorder>
  absl::Status Follow(GenerateStream& stream, Recorder& recorder) {
    display_.Draw(progress_, recorder.history());
    const absl::Status status = FollowStream(
        stream, recorder, json_,
        [&](const denoised::v1::GenerateEvent& event) { Show(event, recorder.history()); });
    display_.Close(progress_, recorder.history());
    return status;
  }

  const denoised::v1::Finished& finished() const { return finished_; }

 private:
  void Show(const denoised::v1::GenerateEvent& event, const PictureHistory* history);

  const bool json_;
  Progress progress_;
  denoised::v1::Finished finished_;
  LiveDisplay display_;
};

}  // namespace denoise
