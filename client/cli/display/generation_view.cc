#include "client/cli/display/generation_view.h"

#include <unistd.h>

#include <memory>

#include "absl/time/clock.h"
#include "client/cli/display/terminal_picture.h"

namespace denoise {
namespace {

std::unique_ptr<TerminalPicture> DetectPictures(const OutputFlags& flags) {
  if (flags.no_picture || flags.json || !isatty(STDOUT_FILENO)) return nullptr;
  return TerminalPicture::Detect();
}

// A live display would garble the lines for scripts where both go to the same terminal.
bool ShowsProgress(const OutputFlags& flags) {
  return isatty(STDERR_FILENO) && !(flags.json && isatty(STDOUT_FILENO));
}

}  // namespace

GenerationView::GenerationView(const OutputFlags& flags)
    : json_(flags.json), display_(ShowsProgress(flags), DetectPictures(flags)) {}

void GenerationView::Show(const denoised::v1::GenerateEvent& event, const PictureHistory* history) {
  progress_.Update(event, absl::Now());
  if (event.has_queued() || event.has_started()) {
    display_.Draw(progress_, history);
  } else {
    display_.Update(progress_, history, absl::Now());
  }
  if (event.has_finished()) finished_ = event.finished();
}

}  // namespace denoise
