#include "client/cli/commands/roundtrip_recorder.h"

#include <utility>

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

// Odd, so that the noisiest picture of a symmetric trip is one of them.
constexpr int kMostColumns = 11;

absl::Status AnotherRequest() {
  return absl::InternalError("the server accepted a request other than the one it was sent");
}

absl::Status NotAccepted() {
  return absl::InternalError("the server sent a picture before it accepted the request");
}

}  // namespace

RoundTripRecorder::RoundTripRecorder(OutputFolder folder, int levels, int steps)
    : folder_(std::move(folder)),
      levels_(levels),
      steps_(steps),
      history_(/*count=*/1, levels + steps, /*every_n_steps=*/1) {}

absl::StatusOr<WrittenFile> RoundTripRecorder::Record(const v1::DiffuseEvent& event) {
  if (event.has_accepted()) {
    if (event.accepted().levels_size() != levels_) return AnotherRequest();
    there_ = event.accepted();
  }
  if (!event.has_frame()) return WrittenFile{};
  if (there_.levels().empty()) return NotAccepted();
  const int level = event.frame().level_index();
  if (event.frame().picture_index() != 0 || level < 0 || level >= levels_) {
    return absl::InternalError(
        absl::StrCat("the server sent a frame of level ", level, " of ", levels_));
  }
  ++frames_there_;
  return RecordFrame(event.frame().image(), level + 1, absl::StrFormat("there-%03d", level));
}

absl::StatusOr<WrittenFile> RoundTripRecorder::Record(const v1::GenerateEvent& event) {
  if (event.has_accepted()) {
    if (event.accepted().steps() != steps_ || event.accepted().count() != 1) {
      return AnotherRequest();
    }
    back_ = event.accepted();
  }
  if (!event.has_frame() && !event.has_image()) return WrittenFile{};
  if (back_.steps() == 0) return NotAccepted();
  if (event.has_image()) return RecordImage(event.image());
  const int step = event.frame().step();
  if (event.frame().image_index() != 0 || step < 1 || step > steps_) {
    return absl::InternalError(
        absl::StrCat("the server sent a frame of step ", step, " of ", steps_));
  }
  return RecordFrame(event.frame().image(), levels_ + step, absl::StrFormat("back-%03d", step));
}

absl::StatusOr<WrittenFile> RoundTripRecorder::RecordFrame(const v1::Image& image, int step,
                                                           const std::string& name) {
  ASSIGN_OR_RETURN(ReceivedImage received, ReceiveImage(image));
  RETURN_IF_ERROR(history_.AddFrame(0, step, std::move(received.pixels)));
  return folder_.Write(absl::StrCat("frames/", name, ".", received.extension), received.file_bytes);
}

absl::StatusOr<WrittenFile> RoundTripRecorder::RecordImage(const v1::GeneratedImage& image) {
  ASSIGN_OR_RETURN(ReceivedImage received, ReceiveImage(image.image()));
  RETURN_IF_ERROR(history_.AddImage(image.image_index(), std::move(received.pixels)));
  ASSIGN_OR_RETURN(WrittenFile file, folder_.Write(absl::StrCat("image-0.", received.extension),
                                                   received.file_bytes));
  image_ = file.path;
  return file;
}

absl::Status RoundTripRecorder::WriteSummary() {
  if (frames_there_ != levels_ || image_.empty()) {
    return absl::InternalError(absl::StrCat("the server sent ", frames_there_, " of ", levels_,
                                            " levels and ", image_.empty() ? "no" : "an",
                                            " image"));
  }
  ASSIGN_OR_RETURN(strip_,
                   folder_.WriteSheet("roundtrip.png", history_.DenoisingSheet(kMostColumns)));
  ASSIGN_OR_RETURN(
      animation_, folder_.WriteUnlessTooLarge(folder_.path() / "roundtrip.webp",
                                              history_.DenoisingAnimation(AnimationFormat::kWebp)));
  return absl::OkStatus();
}

std::string RoundTripRecorder::SummaryText(const v1::Finished& finished) const {
  const v1::DiffusionLevel& noisiest = there_.levels(levels_ - 1);
  std::string text = absl::StrFormat(
      "into the noise of %s up to timestep %.6g (alpha %.5f, sigma %.5f), and back by %d steps of "
      "%s, seed %d, %.1f s",
      Printable(ShortModelName(there_.model())), noisiest.timestep(), noisiest.alpha(),
      noisiest.sigma(), steps_, SamplerFlagName(back_.sampler()), there_.seed(),
      SecondsOf(finished.elapsed()));
  text += FileLine(image_, "the result");
  text += FileLine((folder_.path() / "frames" / "").string(), "every level there, every step back");
  text += FileLine(strip_, "both halves on one strip");
  text += FileLine(animation_, "the same as an animation");
  if (!folder_.left_out().empty()) absl::StrAppend(&text, "\n  not written: ", folder_.left_out());
  return text;
}

}  // namespace denoise
