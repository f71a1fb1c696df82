#include "client/cli/display/generate_summary.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/display/printable.h"
#include "client/cli/flags/sampler_flags.h"
#include "client/client.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

std::string Plural(int count, const std::string& noun) {
  return absl::StrCat(count, " ", noun, count == 1 ? "" : "s");
}

std::string Seeds(const v1::Accepted& accepted) {
  if (accepted.count() == 1) return absl::StrCat("seed ", accepted.seed());
  return absl::StrCat("seeds ", accepted.seed(), " to ", accepted.seed() + accepted.count() - 1);
}

double Seconds(const google::protobuf::Duration& duration) {
  return static_cast<double>(duration.seconds()) + duration.nanos() * 1e-9;
}

void AddFile(const std::string& path, const std::string& what, std::string& text) {
  if (!path.empty()) absl::StrAppendFormat(&text, "\n  %-32s %s", path, what);
}

}  // namespace

std::string SummaryText(const GenerationRecorder& recorder, const v1::Finished& finished) {
  const v1::Accepted& accepted = recorder.accepted();
  const RecordedFiles& files = recorder.files();
  std::string text = absl::StrFormat(
      "%s by %s: %s of %s, %s, %.1f s", Plural(files.images, "image"),
      Printable(ShortModelName(accepted.model())), Plural(accepted.steps(), "step"),
      SamplerFlagName(accepted.sampler()), Seeds(accepted), Seconds(finished.elapsed()));
  const bool several = files.images > 1;
  AddFile(several ? files.first_image + " ..." : files.first_image, Plural(files.images, "image"),
          text);
  if (files.frames > 0) {
    std::string frames = Plural(files.frames, "frame");
    if (finished.frames_dropped() > 0) {
      absl::StrAppend(&frames, ", ", finished.frames_dropped(), " left out");
    }
    AddFile((files.folder / "frames" / "").string(), frames, text);
  }
  AddFile(files.contact_sheet, "all images in one", text);
  AddFile(files.denoising_sheet, "every image from noise to picture", text);
  AddFile(files.animation, "the same as an animation", text);
  if (!files.left_out.empty()) absl::StrAppend(&text, "\n  left out: ", files.left_out);
  return text;
}

}  // namespace denoise
