#include "client/cli/display/job_history.h"

#include <cmath>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/display/received_image.h"
#include "client/cli/display/resource_text.h"
#include "client/cli/display/text.h"
#include "client/cli/flags/message_flags.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

constexpr size_t kMostLosses = 20000;

absl::Duration DurationOf(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

absl::Time TimeOf(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

// At most `width` bytes, and so at most as many columns, of whole characters.
std::string Cut(std::string text, size_t width) {
  if (text.size() <= width) return text;
  while (width > 0 && (static_cast<unsigned char>(text[width]) & 0xC0) == 0x80) --width;
  return text.substr(0, width);
}

}  // namespace

JobHistory::JobHistory(const v1::TrainingJob& job)
    : evaluates_(job.has_evaluation()),
      steps_total_(job.steps_total()),
      state_(job.state()),
      state_reason_(job.state_reason()) {}

absl::Status JobHistory::Add(const v1::TrainingEvent& event) {
  if (event.has_state_change()) {
    state_ = event.state_change().state();
    state_reason_ = event.state_change().reason();
    if (state_ == v1::TrainingJob::RUNNING && event.has_time()) {
      began_ = TimeOf(event.time());
      step_when_began_ = progress_.step();
    }
  } else if (event.has_progress()) {
    progress_ = event.progress();
    progress_time_ = TimeOf(event.time());
    if (!evaluates_) AddLoss(progress_);
  } else if (event.has_sample_grid()) {
    ASSIGN_OR_RETURN(ReceivedImage received, ReceiveImage(event.sample_grid().image()));
    grid_ = std::move(received.pixels);
  }
  return absl::OkStatus();
}

void JobHistory::AddLoss(const v1::TrainingProgress& progress) {
  while (!losses_.empty() && losses_.back().step >= progress.step()) losses_.pop_back();
  if (losses_seen_++ % loss_stride_ == 0) losses_.push_back({progress.step(), progress.loss()});
  if (losses_.size() < kMostLosses) return;
  for (size_t i = 0; i < losses_.size() / 2; ++i) losses_[i] = losses_[2 * i];
  losses_.resize(losses_.size() / 2);
  loss_stride_ *= 2;
}

std::optional<absl::Duration> JobHistory::time_left() const {
  // A server may claim any numbers: they are compared before they are subtracted.
  const int64_t step = progress_.step();
  if (step <= 0 || step >= steps_total_) return std::nullopt;
  if (progress_.has_time_left()) return DurationOf(progress_.time_left());
  const bool has_begun = began_ && step_when_began_ >= 0 && step_when_began_ < step;
  if (!has_begun || progress_time_ <= *began_) return std::nullopt;
  const int64_t left = steps_total_ - step, done = step - step_when_began_;
  return (progress_time_ - *began_) * (static_cast<double>(left) / static_cast<double>(done));
}

std::string JobHistory::Line(int width) const {
  if (state_ != v1::TrainingJob::RUNNING || !state_reason_.empty()) {  // or it waits
    std::string line = StateText(state_);
    if (!state_reason_.empty()) absl::StrAppend(&line, ": ", StateReasonText(state_reason_));
    return Cut(std::move(line), static_cast<size_t>(width));
  }
  const char* const unit = evaluates_ ? "pictures" : "steps";
  std::string tail = absl::StrFormat("  %d/%d %s", progress_.step(), steps_total_, unit);
  if (progress_.step() > 0 && !evaluates_) {
    absl::StrAppend(
        &tail, "  loss ",
        std::isfinite(progress_.loss()) ? absl::StrFormat("%.4f", progress_.loss()) : "not finite");
    absl::StrAppendFormat(&tail, "  %.1f images/s", progress_.pictures_per_second());
  }
  const char* const head = evaluates_ ? "evaluating " : "training ";
  if (const auto left = time_left()) {
    const std::string text = absl::StrCat("  ", TimeText(*left), " left");
    if (std::string_view(head).size() + tail.size() + text.size() <= static_cast<size_t>(width))
      tail += text;
  }
  const double fraction =
      steps_total_ > 0 ? static_cast<double>(progress_.step()) / static_cast<double>(steps_total_)
                       : 0;
  return LineWithBar(head, fraction, tail, width);
}

}  // namespace denoise
