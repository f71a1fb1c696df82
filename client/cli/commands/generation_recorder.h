// Writes a generation to a folder as its events arrive.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cli/commands/output_folder.h"
#include "client/cli/display/picture_history.h"
#include "denoised/v1/image_generation.pb.h"

namespace denoise {

// The files that were written; empty paths for those that were not.
struct RecordedFiles {
  std::filesystem::path folder;
  int images = 0;
  int frames = 0;
  std::string first_image;
  std::string contact_sheet;
  std::string denoising_sheet;
  std::string animation;
  std::string left_out;  // why a sheet or the animation was not written, for people
};

// What a recorder must know of the request that was accepted so.
denoised::v1::GenerateRequest RequestOf(const denoised::v1::Accepted& accepted);

//   image-<i>.<extension>
//   frames/image-<i>-step-<nnn>.<extension>; of two kinds of frames
//   frames/image-<i>-step-<nnn>-x_t.<extension> and ...-x0.<extension>
//   contact-sheet.png, and with frames denoising.png and an animation
// Not thread-safe.
class GenerationRecorder {
 public:
  // For the generation that `request` asks for. The animation goes to `animation`, as a GIF if that
  // ends with .gif, otherwise as WebP; to denoising.webp in the folder if it is empty.
  GenerationRecorder(OutputFolder folder, const denoised::v1::GenerateRequest& request,
                     const std::filesystem::path& animation = {});

  // Writes the picture of the event; the path is empty if it has none. Internal if the event
  // contradicts the request or a file cannot be written.
  absl::StatusOr<WrittenFile> Record(const denoised::v1::GenerateEvent& event);

  // Writes the sheets and the animation once everything has arrived. One that is too large for its
  // format is skipped, and files() says so.
  absl::Status WriteSummary();

  // For people: a sentence about what was generated, then a line for each kind of file. Without a
  // newline at the end.
  std::string SummaryText(const denoised::v1::Finished& finished) const;

  // Null before `accepted`.
  const PictureHistory* history() const { return history_.has_value() ? &*history_ : nullptr; }
  const denoised::v1::Accepted& accepted() const { return accepted_; }
  const RecordedFiles& files() const { return files_; }

 private:
  absl::Status Accept(const denoised::v1::Accepted& accepted);
  absl::StatusOr<WrittenFile> RecordFrame(const denoised::v1::Frame& frame);
  absl::StatusOr<WrittenFile> RecordImage(const denoised::v1::GeneratedImage& image);

  OutputFolder folder_;
  const int requested_count_;
  const int every_n_steps_;
  const std::vector<denoised::v1::FrameKind> kinds_;  // of frames; on sheets x_t is above x0
  const std::filesystem::path animation_;
  denoised::v1::Accepted accepted_;
  std::optional<PictureHistory> history_;
  RecordedFiles files_;
};

}  // namespace denoise
