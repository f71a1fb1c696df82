#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/image/codec.h"

namespace denoise {
namespace {

// WebP keeps durations in 24 bits; far less is already a mistake.
constexpr int kMaxFrameMilliseconds = 60'000;
constexpr size_t kMaxFrames = 10'000;

absl::Status ValidateFrames(std::span<const Image> frames, int frame_milliseconds) {
  if (frames.empty()) return absl::InvalidArgumentError("an animation needs a frame");
  if (frames.size() > kMaxFrames) {
    return absl::InvalidArgumentError(
        absl::StrCat("an animation holds at most ", kMaxFrames, " frames"));
  }
  if (frame_milliseconds < 1 || frame_milliseconds > kMaxFrameMilliseconds) {
    return absl::InvalidArgumentError(absl::StrCat("a frame lasts 1 to ", kMaxFrameMilliseconds,
                                                   " ms, not ", frame_milliseconds));
  }
  for (const Image& frame : frames) {
    RETURN_IF_ERROR(ValidateImage(frame));
    if (frame.width != frames[0].width || frame.height != frames[0].height) {
      return absl::InvalidArgumentError("the frames of an animation differ in size");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> EncodeAnimation(std::span<const Image> frames, int frame_milliseconds,
                                            AnimationFormat format) {
  RETURN_IF_ERROR(ValidateFrames(frames, frame_milliseconds));
  switch (format) {
    case AnimationFormat::kWebp:
      return EncodeWebpAnimation(frames, frame_milliseconds);
    case AnimationFormat::kGif:
      return EncodeGifAnimation(frames, frame_milliseconds);
  }
  return absl::InvalidArgumentError("unknown animation format");
}

}  // namespace denoise
