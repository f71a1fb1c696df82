#include "client/cli/commands/diffusion_recorder.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/display/received_image.h"
#include "client/cli/display/text.h"
#include "client/client.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

// Far above any server's limit.
constexpr int kMostLevels = 100001;

}  // namespace

DiffusionRecorder::DiffusionRecorder(OutputFolder folder, int pictures)
    : folder_(std::move(folder)), pictures_(pictures) {}

absl::StatusOr<WrittenFile> DiffusionRecorder::Record(const v1::DiffuseEvent& event) {
  if (event.has_accepted()) {
    RETURN_IF_ERROR(Accept(event.accepted()));
    return WrittenFile{};
  }
  if (!event.has_frame()) return WrittenFile{};
  if (!history_.has_value()) {
    return absl::InternalError("the server sent a picture before it accepted the request");
  }
  return RecordFrame(event.frame());
}

absl::Status DiffusionRecorder::Accept(const v1::DiffuseAccepted& accepted) {
  if (history_.has_value() || accepted.levels_size() < 1 || accepted.levels_size() > kMostLevels) {
    return absl::InternalError("the server accepted a request other than the one it was sent");
  }
  accepted_ = accepted;
  history_.emplace(pictures_, accepted.levels_size(), /*every_n_steps=*/1);
  return absl::OkStatus();
}

absl::StatusOr<WrittenFile> DiffusionRecorder::RecordFrame(const v1::DiffusedFrame& frame) {
  ASSIGN_OR_RETURN(ReceivedImage received, ReceiveImage(frame.image()));
  // Levels count from 0, steps from 1.
  RETURN_IF_ERROR(history_->AddFrame(frame.picture_index(), frame.level_index() + 1,
                                     std::move(received.pixels)));
  const std::string name = absl::StrFormat("frames/picture-%d-level-%03d.%s", frame.picture_index(),
                                           frame.level_index(), received.extension);
  ASSIGN_OR_RETURN(WrittenFile file, folder_.Write(name, received.file_bytes));
  ++frames_;
  return file;
}

bool DiffusionRecorder::IsComplete() const {
  return history_.has_value() && frames_ == pictures_ * accepted_.levels_size();
}

absl::Status DiffusionRecorder::WriteSummary() {
  if (!IsComplete()) {
    return absl::InternalError(absl::StrCat("the server sent ", frames_, " frames for ",
                                            Plural(pictures_, "picture"), " at ",
                                            Plural(accepted_.levels_size(), "level")));
  }
  ASSIGN_OR_RETURN(sheet_, folder_.WriteSheet("diffusing.png", history_->DenoisingSheet()));
  ASSIGN_OR_RETURN(animation_, folder_.WriteUnlessTooLarge(
                                   folder_.path() / "diffusing.webp",
                                   history_->DenoisingAnimation(AnimationFormat::kWebp)));
  return absl::OkStatus();
}

std::string DiffusionRecorder::SummaryText() const {
  std::string text = absl::StrFormat(
      "%s into the noise of %s, %s, seed %d", Plural(pictures_, "picture"),
      Printable(ShortModelName(accepted_.model())),
      accepted_.mode() == v1::DIFFUSE_MODE_STEP_BY_STEP ? "step by step" : "in closed form",
      accepted_.seed());
  absl::StrAppendFormat(&text, "\n\n%5s  %9s  %8s  %8s  %9s  %12s\n", "level", "timestep", "alpha",
                        "sigma", "alpha_bar", "SNR");
  for (int i = 0; i < accepted_.levels_size(); ++i) {
    const v1::DiffusionLevel& level = accepted_.levels(i);
    absl::StrAppendFormat(
        &text, "%5d  %9s  %8.5f  %8.5f  %9.6f  %12.6g\n", i,
        level.has_timestep() ? absl::StrFormat("%.6g", level.timestep()) : "picture", level.alpha(),
        level.sigma(), level.alpha_bar(), level.snr());
  }
  text += FileLine((folder_.path() / "frames" / "").string(), Plural(frames_, "frame"));
  text += FileLine(sheet_, "every picture from clean to noisy");
  text += FileLine(animation_, "the same as an animation");
  if (!folder_.left_out().empty()) absl::StrAppend(&text, "\n  not written: ", folder_.left_out());
  return text;
}

}  // namespace denoise
