#include "client/cli/picture_history.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

constexpr int kMostAnimationFrames = 60;
// Of all kept frames together, as large as the animation shows them.
constexpr int64_t kMostKeptPixels = int64_t{64} << 20;
constexpr int kMostSheetColumns = 10;

// Cells are enlarged by whole factors to about this many pixels, that small images can be seen.
constexpr int kContactSheetCellPixels = 128;
constexpr int kDenoisingSheetCellPixels = 96;
constexpr int kAnimationCellPixels = 128;
constexpr int kSheetPadding = 4;
constexpr int kAnimationPadding = 2;

// An animation plays for about so long, whatever its number of frames, and then holds the finished
// pictures.
constexpr int kAnimationMilliseconds = 3000;
constexpr int kHoldMilliseconds = 1500;
constexpr int kShortestFrameMilliseconds = 50;
constexpr int kLongestFrameMilliseconds = 200;

constexpr uint8_t kGray = 128;

int ScaleFor(const Image& cell, int cell_pixels) {
  return std::max(1, cell_pixels / std::max(cell.width, cell.height));
}

// About twice as wide as high, and without holes where that is possible.
int GridColumns(int cells) {
  const int widest = static_cast<int>(std::ceil(std::sqrt(2.0 * cells)));
  const int narrowest = static_cast<int>(std::ceil(std::sqrt(cells)));
  for (int columns = widest; columns >= narrowest; --columns) {
    if (cells % columns == 0) return columns;
  }
  return std::min(widest, cells);
}

bool SameShape(const Image& a, const Image& b) {
  return a.width == b.width && a.height == b.height && a.channels == b.channels;
}

}  // namespace

PictureHistory::PictureHistory(int count, int steps, int every_n_steps)
    : count_(count),
      steps_(steps),
      every_n_steps_(every_n_steps),
      latest_frames_(count),
      images_(count) {}

absl::Status PictureHistory::CheckShape(int image_index, const Image& picture) {
  if (image_index < 0 || image_index >= count_) {
    return absl::InternalError(
        absl::StrCat("the server sent image ", image_index, " of ", count_, " images"));
  }
  if (gray_.pixels.empty()) {
    gray_ = picture;
    std::fill(gray_.pixels.begin(), gray_.pixels.end(), kGray);
    const int64_t scale = ScaleFor(picture, kAnimationCellPixels);
    const int64_t pixels = count_ * scale * picture.width * scale * picture.height;
    const int64_t most = std::clamp<int64_t>(kMostKeptPixels / pixels, 2, kMostAnimationFrames);
    kept_steps_ = SpreadSteps(static_cast<int>(most));
  }
  if (!SameShape(picture, gray_))
    return absl::InternalError("the server sent images of two shapes");
  return absl::OkStatus();
}

std::vector<int> PictureHistory::SpreadSteps(int most) const {
  if (every_n_steps_ == 0) return {};
  const int64_t frames = (int64_t{steps_} + every_n_steps_ - 1) / every_n_steps_;
  const int kept = static_cast<int>(std::min<int64_t>(frames, most));
  std::vector<int> steps;
  for (int i = 0; i < kept; ++i) {
    const int64_t frame = kept == 1 ? frames : 1 + i * (frames - 1) / (kept - 1);
    steps.push_back(static_cast<int>(std::min<int64_t>(frame * every_n_steps_, steps_)));
  }
  return steps;
}

absl::Status PictureHistory::AddFrame(int image_index, int step, Image frame) {
  RETURN_IF_ERROR(CheckShape(image_index, frame));
  if (step < 1 || step > steps_) {
    return absl::InternalError(
        absl::StrCat("the server sent a frame of step ", step, " of ", steps_));
  }
  if (std::binary_search(kept_steps_.begin(), kept_steps_.end(), step)) {
    Row& row = frames_.try_emplace(step, count_).first->second;
    row[image_index] = frame;
  }
  latest_frames_[image_index] = std::move(frame);
  return absl::OkStatus();
}

absl::Status PictureHistory::AddImage(int image_index, Image image) {
  RETURN_IF_ERROR(CheckShape(image_index, image));
  if (images_[image_index].has_value()) {
    return absl::InternalError(absl::StrCat("the server sent image ", image_index, " twice"));
  }
  images_[image_index] = std::move(image);
  return absl::OkStatus();
}

std::vector<const Image*> PictureHistory::Latest() const {
  std::vector<const Image*> latest;
  for (int i = 0; i < count_; ++i) {
    const std::optional<Image>& picture = images_[i].has_value() ? images_[i] : latest_frames_[i];
    latest.push_back(picture.has_value() ? &*picture : nullptr);
  }
  return latest;
}

const Image& PictureHistory::At(int image_index, int step) const {
  const Image* found = nullptr;
  for (const auto& [frame_step, row] : frames_) {
    if (frame_step > step && found != nullptr) break;
    if (row[image_index].has_value()) found = &*row[image_index];
  }
  return found != nullptr ? *found : gray_;
}

absl::StatusOr<Image> PictureHistory::Grid(const std::vector<Image>& cells, int columns,
                                           int padding, int cell_pixels) const {
  return denoise::ContactSheet(cells, columns, padding, ScaleFor(gray_, cell_pixels));
}

absl::StatusOr<Image> PictureHistory::ContactSheet() const {
  std::vector<Image> cells;
  for (const auto& image : images_) cells.push_back(image.value_or(gray_));
  return Grid(cells, GridColumns(count_), kSheetPadding, kContactSheetCellPixels);
}

absl::StatusOr<Image> PictureHistory::DenoisingSheet() const {
  const std::vector<int> steps = SpreadSteps(kMostSheetColumns);
  std::vector<Image> cells;
  for (int i = 0; i < count_; ++i) {
    for (const int step : steps) {
      const bool last = step == steps.back();
      cells.push_back(last && images_[i].has_value() ? *images_[i] : At(i, step));
    }
  }
  return Grid(cells, static_cast<int>(steps.size()), kSheetPadding, kDenoisingSheetCellPixels);
}

absl::StatusOr<std::string> PictureHistory::DenoisingAnimation(AnimationFormat format) const {
  const int columns = GridColumns(count_);
  std::vector<Image> frames;
  for (const auto& [step, row] : frames_) {
    std::vector<Image> cells;
    for (int i = 0; i < count_; ++i) cells.push_back(At(i, step));
    ASSIGN_OR_RETURN(frames.emplace_back(),
                     Grid(cells, columns, kAnimationPadding, kAnimationCellPixels));
  }
  std::vector<Image> finished;
  for (int i = 0; i < count_; ++i) finished.push_back(images_[i].value_or(At(i, steps_)));
  ASSIGN_OR_RETURN(const Image last,
                   Grid(finished, columns, kAnimationPadding, kAnimationCellPixels));
  const int milliseconds = std::clamp(kAnimationMilliseconds / static_cast<int>(frames.size()),
                                      kShortestFrameMilliseconds, kLongestFrameMilliseconds);
  // Repeats of one picture cost next to nothing in the file.
  frames.insert(frames.end(), kHoldMilliseconds / milliseconds, last);
  return EncodeAnimation(frames, milliseconds, format);
}

}  // namespace denoise
