#include "client/cli/display/generation_display.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/display/text.h"

namespace denoise {
namespace {

// A rate over a shorter time says little.
constexpr absl::Duration kShortestRateInterval = absl::Milliseconds(200);
constexpr char kMovesText[] = "continues on another server";
constexpr char kPausedText[] = "paused";
constexpr absl::Duration kShortestInterval = absl::Milliseconds(100);

}  // namespace

void GenerationProgress::Update(const denoised::v1::GenerateEvent& event, absl::Time now) {
  if (event.has_accepted()) {
    images_total_ = event.accepted().count();
    steps_total_ = int64_t{event.accepted().count()} * event.accepted().steps();
  } else if (event.has_queued()) {
    phase_ = Phase::kQueued;
    queued_ = event.queued();
  } else if (event.has_started()) {
    phase_ = Phase::kDenoising;
    started_ = now;
    steps_before_ = steps_done_;
  } else if (event.has_progress()) {
    steps_done_ = event.progress().steps_done();
    steps_total_ = event.progress().steps_total();
    counted_ = now;
  } else if (event.has_image()) {
    ++images_done_;
  } else if (event.has_handover()) {
    phase_ = event.handover().paused() ? Phase::kPaused : Phase::kMoving;
  } else if (event.has_finished()) {
    phase_ = Phase::kDone;
    steps_done_ = steps_total_;
    counted_ = now;
  }
}

double GenerationProgress::StepsPerSecond() const {
  const absl::Duration elapsed = counted_ - started_;
  if (started_ == absl::InfinitePast() || elapsed < kShortestRateInterval) return 0;
  return (steps_done_ - steps_before_) / absl::ToDoubleSeconds(elapsed);
}

std::string GenerationProgress::Line(int width) const {
  if (phase_ == Phase::kWaiting) return std::string("waiting for the server").substr(0, width);
  if (phase_ == Phase::kQueued) {
    std::string line = queued_.position() == 0
                           ? std::string("queued, next")
                           : absl::StrCat("queued, ", queued_.position(), " ahead");
    if (queued_.has_expected_wait()) {
      absl::StrAppend(&line, ", starts in about ",
                      TimeText(absl::Seconds(SecondsOf(queued_.expected_wait()))));
    }
    return line.substr(0, width);
  }
  if (phase_ == Phase::kMoving) return std::string(kMovesText).substr(0, width);
  if (phase_ == Phase::kPaused) return std::string(kPausedText).substr(0, width);
  const std::string head = phase_ == Phase::kDone ? "denoised  " : "denoising ";
  const double fraction = steps_total_ > 0 ? static_cast<double>(steps_done_) / steps_total_ : 0;
  return LineWithBar(head, fraction, absl::StrCat("  ", Numbers()), width);
}

std::string GenerationProgress::Text() const {
  if (phase_ == Phase::kMoving) return kMovesText;
  return phase_ == Phase::kPaused ? kPausedText : absl::StrCat("denoising  ", Numbers());
}

// "104/160 steps  3/8 images  41 steps/s  1 s left".
std::string GenerationProgress::Numbers() const {
  std::string text = absl::StrFormat("%d/%d steps  %d/%d images", steps_done_, steps_total_,
                                     images_done_, images_total_);
  if (const double rate = StepsPerSecond(); rate > 0) {
    absl::StrAppendFormat(&text, "  %.*f steps/s", rate < 10 ? 1 : 0, rate);
    const int64_t steps_left = steps_total_ - steps_done_;
    if (steps_left > 0)
      absl::StrAppend(&text, "  ", TimeText(absl::Seconds(steps_left / rate)), " left");
  }
  return text;
}

GenerationDisplay::GenerationDisplay(bool shown, std::unique_ptr<TerminalPicture> pictures)
    : screen_(shown, std::move(pictures)) {}

void GenerationDisplay::Update(const GenerationProgress& progress, const PictureHistory* history,
                               absl::Time now) {
  if (now - drawn_ < kShortestInterval) return;
  drawn_ = now;
  Draw(progress, history);
}

void GenerationDisplay::Close(const GenerationProgress& progress, const PictureHistory* history) {
  Draw(progress, history);
  Close();
}

void GenerationDisplay::Draw(const GenerationProgress& progress, const PictureHistory* history) {
  if (!screen_.shown()) return;
  const TerminalSize size = screen_.size();
  // Leaves one column free: a full line would wrap.
  const std::string line = progress.Line(std::max(1, size.columns - 1));
  const auto latest = screen_.shows_pictures() && history != nullptr ? history->Latest()
                                                                     : std::vector<const Image*>();
  const auto first =
      std::find_if(latest.begin(), latest.end(), [](auto* p) { return p != nullptr; });
  if (first == latest.end()) return screen_.Draw(nullptr, {}, line);
  if (layout_.rows == 0) {
    layout_ = LayOutGrid(size, static_cast<int>(latest.size()), (*first)->width, (*first)->height);
  }
  if (layout_.rows == 0) return screen_.Draw(nullptr, {}, line);
  const Image grid = DrawGrid(latest, layout_);
  screen_.Draw(&grid, {layout_.columns, layout_.rows}, line);
}

}  // namespace denoise
