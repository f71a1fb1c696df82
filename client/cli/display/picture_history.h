// The pictures of one generation as they were received, and the sheets and animations made of them.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/image/image.h"

namespace denoise {

// Holds the final images and a spread of frames, in bounded memory however long the run. All
// pictures have one shape. Not thread-safe.
class PictureHistory {
 public:
  // For `count` images over `steps` steps, with a frame of each of `kinds` kinds after every n-th
  // step and the last; 0 for no frames.
  PictureHistory(int count, int steps, int every_n_steps, int kinds = 1);

  // Internal for an index, a step or a shape that does not fit: the server is not trusted. `kind`
  // counts from 0; its meaning is up to the caller.
  absl::Status AddFrame(int image_index, int step, Image frame, int kind = 0);
  absl::Status AddImage(int image_index, Image image);

  bool has_frames() const { return !frames_.empty(); }
  size_t kept_frames() const { return frames_.size(); }

  // The latest picture of each image (of frames, the last kind); null before its first.
  std::vector<const Image*> Latest() const;

  // The final images in a grid, enlarged. Requires one image; missing ones are gray.
  absl::StatusOr<Image> ContactSheet() const;

  // A row for each kind of each image, and a column for each of up to `most_columns` frames, evenly
  // spread from the first to the last, which is the image itself. Requires has_frames().
  absl::StatusOr<Image> DenoisingSheet(int most_columns = 10) const;

  // An animation of all images in a grid as they are denoised, the kinds of each side by side;
  // holds the last frame. Requires has_frames().
  absl::StatusOr<std::string> DenoisingAnimation(AnimationFormat format) const;

 private:
  using Row = std::vector<std::optional<Image>>;

  absl::Status CheckShape(int image_index, const Image& picture);
  // The steps to keep: at most `most` of those that have frames, evenly spread, with the first and
  // the last.
  std::vector<int> SpreadSteps(int most) const;
  // The image at `step`: its latest frame of that kind up to then, otherwise its first, otherwise
  // gray.
  const Image& At(int image_index, int kind, int step) const;
  // The same, but at the last step the image itself if it has arrived.
  const Image& AtOrFinished(int image_index, int kind, int step) const;
  int FrameIndex(int image_index, int kind) const { return image_index * kinds_ + kind; }
  absl::StatusOr<Image> Grid(const std::vector<Image>& cells, int columns, int padding,
                             int cell_pixels) const;

  const int count_;
  const int steps_;
  const int every_n_steps_;
  const int kinds_;
  std::vector<int> kept_steps_;  // set with the shape
  std::map<int, Row> frames_;    // by step, kept steps only; each by FrameIndex
  Row latest_frames_;            // by image, of the last kind
  Row images_;                   // by image
  Image gray_;                   // has the shape of every picture; empty before the first
};

}  // namespace denoise
