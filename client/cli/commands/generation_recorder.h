// Writes a generation to a folder as its events come.
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

// Files that were written. Empty: not written.
struct RecordedFiles {
  std::filesystem::path folder;
  int images = 0;
  int frames = 0;
  std::string first_image;
  std::string contact_sheet;
  std::string denoising_sheet;
  std::string animation;
  std::string left_out;  // why a sheet or the animation could not be made, for people
};

//   image-<i>.<extension>
//   frames/image-<i>-step-<nnn>.<extension>, of two kinds image-<i>-step-<nnn>-<x_t or x0>.<extension>
//   contact-sheet.png, and with frames denoising.png and an animation
// Not thread-safe.
class GenerationRecorder {
 public:
  // Of a generation that was asked for with this request. The animation is written to `animation`, as
  // a GIF where that ends with .gif, else as WebP; empty: denoising.webp in the folder.
  GenerationRecorder(OutputFolder folder, const denoised::v1::GenerateRequest& request,
                     const std::filesystem::path& animation = {});

  // Writes what the event carries; an empty path for an event without a picture.
  // Internal when the event makes no sense or a file cannot be written.
  absl::StatusOr<WrittenFile> Record(const denoised::v1::GenerateEvent& event);

  // Writes the sheets and the animation, once everything has come. One that would be too large for
  // its format is left out, and files() says so.
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
  const std::vector<denoised::v1::FrameKind> kinds_;  // of frames; in pictures x_t is above x0
  const std::filesystem::path animation_;
  denoised::v1::Accepted accepted_;
  std::optional<PictureHistory> history_;
  RecordedFiles files_;
};

}  // namespace denoise
