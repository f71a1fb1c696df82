// Writes a round trip, a picture diffused and denoised again, to a folder as it arrives.
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

//   frames/there-<nnn>.<extension>   at level nnn; 000 is the picture, the last the noisiest
//   frames/back-<nnn>.<extension>    after step nnn, x_t
//   image-0.<extension>              the result
//   roundtrip.png and roundtrip.webp, both halves one after the other
// Not thread-safe.
class RoundTripRecorder {
 public:
  // For `levels` levels there, the clean picture included, and `steps` steps back.
  RoundTripRecorder(OutputFolder folder, int levels, int steps);

  // Writes the picture of the event; the path is empty if it has none. Internal if the event
  // contradicts the request or a file cannot be written.
  absl::StatusOr<WrittenFile> Record(const denoised::v1::DiffuseEvent& event);
  absl::StatusOr<WrittenFile> Record(const denoised::v1::GenerateEvent& event);

  // Writes the strip and the animation once everything has arrived. One that is too large for its
  // format is skipped, and SummaryText says so.
  absl::Status WriteSummary();

  // What was written and where, for people.
  std::string SummaryText(const denoised::v1::Finished& finished) const;

  // From the first picture to the last, with a step for every level and every step.
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
