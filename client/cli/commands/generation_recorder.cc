#include "client/cli/commands/generation_recorder.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/display/received_image.h"
#include "client/cli/display/text.h"
#include "client/cli/flags/sampler_flags.h"
#include "client/client.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

// Far above any server's limits. Keeps sums over a hostile answer from overflowing.
constexpr int kMostSteps = 100000;
constexpr int kMostImages = 10000;

std::vector<v1::FrameKind> KindsOf(const v1::FramePolicy& frames) {
  std::vector<v1::FrameKind> kinds;
  for (const int kind : frames.kinds()) kinds.push_back(static_cast<v1::FrameKind>(kind));
  if (kinds.empty()) kinds.push_back(v1::FRAME_KIND_X0);
  std::sort(kinds.begin(), kinds.end());
  return kinds;
}

AnimationFormat FormatOf(const std::filesystem::path& path) {
  const bool gif = absl::EndsWithIgnoreCase(path.string(), ".gif");
  return gif ? AnimationFormat::kGif : AnimationFormat::kWebp;
}

std::string SeedsText(const v1::Accepted& accepted) {
  if (accepted.count() == 1) return absl::StrCat("seed ", accepted.seed());
  return absl::StrCat("seeds ", accepted.seed(), " to ", accepted.seed() + accepted.count() - 1);
}

}  // namespace

v1::GenerateRequest RequestOf(const v1::Accepted& accepted) {
  v1::GenerateRequest request;
  request.set_count(accepted.count());
  if (accepted.has_frames()) *request.mutable_frames() = accepted.frames();
  return request;
}

GenerationRecorder::GenerationRecorder(OutputFolder folder, const v1::GenerateRequest& request,
                                       const std::filesystem::path& animation)
    : folder_(std::move(folder)),
      requested_count_(request.has_count() ? request.count() : 1),
      every_n_steps_(request.has_frames() ? request.frames().every_n_steps() : 0),
      kinds_(KindsOf(request.frames())),
      animation_(animation.empty() ? folder_.path() / "denoising.webp" : animation) {
  files_.folder = folder_.path();
}

absl::StatusOr<WrittenFile> GenerationRecorder::Record(const v1::GenerateEvent& event) {
  if (event.has_accepted()) {
    RETURN_IF_ERROR(Accept(event.accepted()));
    return WrittenFile{};
  }
  if (!event.has_frame() && !event.has_image()) return WrittenFile{};
  if (!history_.has_value()) {
    return absl::InternalError("the server sent a picture before it accepted the request");
  }
  return event.has_frame() ? RecordFrame(event.frame()) : RecordImage(event.image());
}

absl::Status GenerationRecorder::Accept(const v1::Accepted& accepted) {
  if (history_.has_value() || accepted.count() != requested_count_ ||
      accepted.count() > kMostImages || accepted.steps() < 1 || accepted.steps() > kMostSteps) {
    return absl::InternalError("the server accepted a request other than the one it was sent");
  }
  accepted_ = accepted;
  history_.emplace(accepted.count(), accepted.steps(), every_n_steps_,
                   static_cast<int>(kinds_.size()));
  return absl::OkStatus();
}

absl::StatusOr<WrittenFile> GenerationRecorder::RecordFrame(const v1::Frame& frame) {
  const auto kind = std::find(kinds_.begin(), kinds_.end(), frame.kind());
  if (kind == kinds_.end()) {
    return absl::InternalError("the server sent a frame of a kind that it was not asked for");
  }
  ASSIGN_OR_RETURN(ReceivedImage received, ReceiveImage(frame.image()));
  RETURN_IF_ERROR(history_->AddFrame(frame.image_index(), frame.step(), std::move(received.pixels),
                                     static_cast<int>(kind - kinds_.begin())));
  const std::string suffix = kinds_.size() == 1 ? "" : *kind == v1::FRAME_KIND_X_T ? "-x_t" : "-x0";
  const std::string name = absl::StrFormat("frames/image-%d-step-%03d%s.%s", frame.image_index(),
                                           frame.step(), suffix, received.extension);
  ASSIGN_OR_RETURN(WrittenFile file, folder_.Write(name, received.file_bytes));
  ++files_.frames;
  return file;
}

absl::StatusOr<WrittenFile> GenerationRecorder::RecordImage(const v1::GeneratedImage& image) {
  ASSIGN_OR_RETURN(ReceivedImage received, ReceiveImage(image.image()));
  RETURN_IF_ERROR(history_->AddImage(image.image_index(), std::move(received.pixels)));
  const std::string name = absl::StrCat("image-", image.image_index(), ".", received.extension);
  ASSIGN_OR_RETURN(WrittenFile file, folder_.Write(name, received.file_bytes));
  if (image.image_index() == 0 || files_.first_image.empty()) files_.first_image = file.path;
  ++files_.images;
  return file;
}

absl::Status GenerationRecorder::WriteSummary() {
  if (!history_.has_value() || files_.images != accepted_.count()) {
    return absl::InternalError(
        absl::StrCat("the server sent ", files_.images, " of ", requested_count_, " images"));
  }
  ASSIGN_OR_RETURN(files_.contact_sheet,
                   folder_.WriteSheet("contact-sheet.png", history_->ContactSheet()));
  if (history_->has_frames()) {
    ASSIGN_OR_RETURN(files_.denoising_sheet,
                     folder_.WriteSheet("denoising.png", history_->DenoisingSheet()));
    ASSIGN_OR_RETURN(files_.animation,
                     folder_.WriteUnlessTooLarge(
                         animation_, history_->DenoisingAnimation(FormatOf(animation_))));
  }
  files_.left_out = folder_.left_out();
  return absl::OkStatus();
}

std::string GenerationRecorder::SummaryText(const v1::Finished& finished) const {
  std::string text = absl::StrFormat(
      "%s by %s: %s of %s, %s, %.1f s", Plural(files_.images, "image"),
      Printable(ShortModelName(accepted_.model())), Plural(accepted_.steps(), "step"),
      SamplerFlagName(accepted_.sampler()), SeedsText(accepted_), SecondsOf(finished.elapsed()));
  const bool several = files_.images > 1;
  text += FileLine(several ? files_.first_image + " ..." : files_.first_image,
                   Plural(files_.images, "image"));
  if (files_.frames > 0) {
    std::string frames = Plural(files_.frames, "frame");
    if (finished.frames_dropped() > 0) {
      absl::StrAppend(&frames, ", ", finished.frames_dropped(), " skipped");
    }
    text += FileLine((files_.folder / "frames" / "").string(), frames);
  }
  text += FileLine(files_.contact_sheet, "all images on one sheet");
  text += FileLine(files_.denoising_sheet, "every image from noise to picture");
  text += FileLine(files_.animation, "the same as an animation");
  if (!files_.left_out.empty()) absl::StrAppend(&text, "\n  not written: ", files_.left_out);
  return text;
}

}  // namespace denoise
