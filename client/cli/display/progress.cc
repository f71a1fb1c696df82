#include "client/cli/display/progress.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/display/progress_bar.h"

namespace denoise {
namespace {

// A rate over less than this says little.
constexpr absl::Duration kShortestRateInterval = absl::Milliseconds(200);

}  // namespace

void Progress::Update(const denoised::v1::GenerateEvent& event, absl::Time now) {
  if (event.has_accepted()) {
    images_total_ = event.accepted().count();
    steps_total_ = int64_t{event.accepted().count()} * event.accepted().steps();
  } else if (event.has_queued()) {
    phase_ = Phase::kQueued;
    queue_position_ = event.queued().position();
  } else if (event.has_started()) {
    phase_ = Phase::kDenoising;
    started_ = now;
  } else if (event.has_progress()) {
    steps_done_ = event.progress().steps_done();
    steps_total_ = event.progress().steps_total();
    counted_ = now;
  } else if (event.has_image()) {
    ++images_done_;
  } else if (event.has_finished()) {
    phase_ = Phase::kDone;
    steps_done_ = steps_total_;
    counted_ = now;
  }
}

double Progress::StepsPerSecond() const {
  const absl::Duration elapsed = counted_ - started_;
  if (started_ == absl::InfinitePast() || elapsed < kShortestRateInterval) return 0;
  return steps_done_ / absl::ToDoubleSeconds(elapsed);
}

std::string Progress::Line(int width) const {
  if (phase_ == Phase::kWaiting) return std::string("waiting for the server").substr(0, width);
  if (phase_ == Phase::kQueued) {
    std::string line = queue_position_ == 0 ? std::string("queued, next")
                                            : absl::StrCat("queued, ", queue_position_, " ahead");
    return line.substr(0, width);
  }
  const std::string head = phase_ == Phase::kDone ? "denoised  " : "denoising ";
  std::string tail = absl::StrFormat("  %d/%d steps  %d/%d images", steps_done_, steps_total_,
                                     images_done_, images_total_);
  if (const double rate = StepsPerSecond(); rate > 0) {
    absl::StrAppendFormat(&tail, "  %.*f steps/s", rate < 10 ? 1 : 0, rate);
    const int64_t steps_left = steps_total_ - steps_done_;
    if (steps_left > 0)
      absl::StrAppend(&tail, "  ", TimeText(absl::Seconds(steps_left / rate)), " left");
  }
  const double fraction = steps_total_ > 0 ? static_cast<double>(steps_done_) / steps_total_ : 0;
  return LineWithBar(head, fraction, tail, width);
}

}  // namespace denoise
