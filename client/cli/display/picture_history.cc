#include "client/cli/display/picture_history.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

// Odd, so that the middle of a run is among the frames that are kept.
constexpr int kMostAnimationFrames = 61;
// Of all kept frames together, at the size that the animation shows them.
constexpr int64_t kMostKeptPixels = int64_t{64} << 20;

// Cells are enlarged by whole factors to about this many pixels, so that small images can be seen.
constexpr int kContactSheetCellPixels = 128;
constexpr int kDenoisingSheetCellPixels = 96;
constexpr int kAnimationCellPixels = 128;
constexpr int kSheetPadding = 4;
constexpr int kAnimationPadding = 2;

// An animation plays for about this long, whatever its number of frames, and then holds the
// finished images.
constexpr int kAnimationMilliseconds = 3000;
constexpr int kHoldMilliseconds = 1500;
constexpr int kShortestFrameMilliseconds = 50;
constexpr int kLongestFrameMilliseconds = 200;

constexpr uint8_t kGray = 128;

int ScaleFor(const Image& cell, int cell_pixels) {
  return std::max(1, cell_pixels / std::max(cell.width, cell.height));
}

// Columns of a grid about twice as wide as high, for cells that are `cell_width` times as wide as
// high, without holes if possible.
int GridColumns(int cells, int cell_width = 1) {
  const double square = static_cast<double>(cells) / cell_width;
  const int widest = static_cast<int>(std::ceil(std::sqrt(2 * square)));
  const int narrowest = static_cast<int>(std::ceil(std::sqrt(square)));
  for (int columns = widest; columns >= narrowest; --columns) {
    if (cells % columns == 0) return columns;
  }
  return std::min(widest, cells);
}

bool SameShape(const Image& a, const Image& b) {
  return a.width == b.width && a.height == b.height && a.channels == b.channels;
}

}  // namespace

PictureHistory::PictureHistory(int count, int steps, int every_n_steps, int kinds)
    : count_(count),
      steps_(steps),
      every_n_steps_(every_n_steps),
      kinds_(kinds),
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
    const int64_t pixels = count_ * kinds_ * scale * picture.width * scale * picture.height;
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

absl::Status PictureHistory::AddFrame(int image_index, int step, Image frame, int kind) {
  RETURN_IF_ERROR(CheckShape(image_index, frame));
  if (step < 1 || step > steps_) {
    return absl::InternalError(
        absl::StrCat("the server sent a frame of step ", step, " of ", steps_));
  }
  if (std::binary_search(kept_steps_.begin(), kept_steps_.end(), step)) {
    Row& row = frames_.try_emplace(step, count_ * kinds_).first->second;
    row[FrameIndex(image_index, kind)] = frame;
  }
  if (kind == kinds_ - 1) latest_frames_[image_index] = std::move(frame);
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

const Image& PictureHistory::At(int image_index, int kind, int step) const {
  const Image* found = nullptr;
  for (const auto& [frame_step, row] : frames_) {
    if (frame_step > step && found != nullptr) break;
    const std::optional<Image>& frame = row[FrameIndex(image_index, kind)];
    if (frame.has_value()) found = &*frame;
  }
  return found != nullptr ? *found : gray_;
}

const Image& PictureHistory::AtOrFinished(int image_index, int kind, int step) const {
  const std::optional<Image>& image = images_[image_index];
  return step == steps_ && image.has_value() ? *image : At(image_index, kind, step);
}

absl::StatusOr<Image> PictureHistory::Grid(const std::vector<Image>& cells, int columns,
                                           int padding, int cell_pixels) const {
  return denoise::ContactSheet(cells, columns, padding, ScaleFor(gray_, cell_pixels));
}

absl::StatusOr<Image> PictureHistory::ContactSheet() const {
  DENOISE_DCHECK(!gray_.pixels.empty());
  std::vector<Image> cells;
  for (const auto& image : images_) cells.push_back(image.value_or(gray_));
  return Grid(cells, GridColumns(count_), kSheetPadding, kContactSheetCellPixels);
}

absl::StatusOr<Image> PictureHistory::DenoisingSheet(int most_columns) const {
  DENOISE_DCHECK(has_frames());
  const std::vector<int> steps = SpreadSteps(most_columns);
  std::vector<Image> cells;
  for (int i = 0; i < count_; ++i) {
    for (int kind = 0; kind < kinds_; ++kind) {
      for (const int step : steps) cells.push_back(AtOrFinished(i, kind, step));
    }
  }
  return Grid(cells, static_cast<int>(steps.size()), kSheetPadding, kDenoisingSheetCellPixels);
}

absl::StatusOr<std::string> PictureHistory::DenoisingAnimation(AnimationFormat format) const {
  DENOISE_DCHECK(has_frames());
  const int columns = kinds_ * GridColumns(count_, kinds_);
  const auto draw = [&](const Image& (PictureHistory::*at)(int, int, int) const, int step) {
    std::vector<Image> cells;
    for (int i = 0; i < count_; ++i) {
      for (int kind = 0; kind < kinds_; ++kind) cells.push_back((this->*at)(i, kind, step));
    }
    return Grid(cells, columns, kAnimationPadding, kAnimationCellPixels);
  };
  std::vector<Image> frames;
  for (const auto& [step, row] : frames_) {
    ASSIGN_OR_RETURN(frames.emplace_back(), draw(&PictureHistory::At, step));
  }
  ASSIGN_OR_RETURN(const Image last, draw(&PictureHistory::AtOrFinished, steps_));
  const int milliseconds = std::clamp(kAnimationMilliseconds / static_cast<int>(frames.size()),
                                      kShortestFrameMilliseconds, kLongestFrameMilliseconds);
  // Repeats of one picture take almost no room in the file.
  frames.insert(frames.end(), kHoldMilliseconds / milliseconds, last);
  return EncodeAnimation(frames, milliseconds, format);
}

}  // namespace denoise
