// Writes the frames of a diffusion to a folder as they arrive.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cli/commands/output_folder.h"
#include "client/cli/display/picture_history.h"
#include "denoised/v1/image_generation.pb.h"

namespace denoise {

//   frames/picture-<i>-level-<nnn>.<extension>
//   diffusing.png, a row for each picture, and diffusing.webp
// Not thread-safe.
class DiffusionRecorder {
 public:
  // For a request with this many pictures.
  DiffusionRecorder(OutputFolder folder, int pictures);

  // Writes the picture of the event; the path is empty if it has none. Internal if the event
  // contradicts the request or a file cannot be written.
  absl::StatusOr<WrittenFile> Record(const denoised::v1::DiffuseEvent& event);

  // Writes the sheet and the animation once every frame has arrived. One that is too large for its
  // format is skipped, and SummaryText says so.
  absl::Status WriteSummary();

  // What was written and where, for people.
  std::string SummaryText() const;

 private:
  absl::Status Accept(const denoised::v1::DiffuseAccepted& accepted);
  absl::StatusOr<WrittenFile> RecordFrame(const denoised::v1::DiffusedFrame& frame);
  bool IsComplete() const;

  OutputFolder folder_;
  const int pictures_;
  denoised::v1::DiffuseAccepted accepted_;
  std::optional<PictureHistory> history_;  // with a step for each level
  int frames_ = 0;
  std::string sheet_;
  std::string animation_;
};

}  // namespace denoise
