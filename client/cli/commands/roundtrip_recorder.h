// Writes a picture's way into noise and back to a folder, as it comes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cli/commands/output_folder.h"
#include "client/cli/display/picture_history.h"
#include "denoised/v1/image_generation.pb.h"

namespace denoise {

//   frames/there-<nnn>.<extension>   at level nnn; 000 is the picture, the last is where it turns
//   frames/back-<nnn>.<extension>    after step nnn, x_t
//   image-0.<extension>              what the picture has become
//   roundtrip.png and roundtrip.webp, both ways one after the other
// Not thread-safe.
class RoundTripRecorder {
 public:
  // Of a way through `levels` levels, the picture's among them, and back in `steps` steps.
  RoundTripRecorder(OutputFolder folder, int levels, int steps);

  // Writes what the event carries; an empty path for an event without a picture. Internal when the
  // event makes no sense or a file cannot be written.
  absl::StatusOr<WrittenFile> Record(const denoised::v1::DiffuseEvent& event);
  absl::StatusOr<WrittenFile> Record(const denoised::v1::GenerateEvent& event);

  // Writes the strip and the animation, once everything has come. One that would be too large for its
  // format is left out, and SummaryText says so.
  absl::Status WriteSummary();

  // What was made, and where it is, for people.
  std::string SummaryText(const denoised::v1::Finished& finished) const;

  // Of the first picture to the last; a step for every level and every step.
  const PictureHistory* history() const { return &history_; }
  const denoised::v1::DiffuseAccepted& there() const { return there_; }

 private:
  absl::StatusOr<WrittenFile> RecordFrame(const denoised::v1::Image& image, int step,
                                          const std::string& name);
  absl::StatusOr<WrittenFile> RecordImage(const denoised::v1::GeneratedImage& image);

  OutputFolder folder_;
  const int levels_;
  const int steps_;
  denoised::v1::DiffuseAccepted there_;
  denoised::v1::Accepted back_;
  PictureHistory history_;
  int frames_there_ = 0;
  std::string image_;
  std::string strip_;
  std::string animation_;
};

}  // namespace denoise
