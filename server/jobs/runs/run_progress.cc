#include "server/jobs/runs/run_progress.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/json/config_reader.h"
#include "core/json/strict_json.h"

namespace denoise {
namespace {

using Json = nlohmann::json;

constexpr IntRange kSteps = {0, std::numeric_limits<int64_t>::max()};

// The longest Duration that protobuf allows: ten thousand years.
constexpr int64_t kMaxSeconds = 315'576'000'000;

google::protobuf::Duration ToProto(absl::Duration duration) {
  google::protobuf::Duration message;
  message.set_seconds(std::clamp<int64_t>(absl::ToInt64Seconds(duration), 0, kMaxSeconds));
  return message;  // an estimate needs no nanoseconds
}

}  // namespace

void RunProgress::AddStep(const StepReport& report) {
  ++sums_.steps;
  ++steps_here_;
  if (report.skipped) return;
  ++sums_.finite_steps;
  sums_.loss += report.loss;
  sums_.simple_loss += report.simple_loss.value_or(0);
  sums_.vlb_loss += report.vlb_loss.value_or(0);
}

bool RunProgress::TimeIsUp() const {
  return absl::Seconds(device_seconds_before_ + sums_.device_seconds) >= facts_.max_duration;
}

denoised::v1::TrainingProgress RunProgress::Take(const StepReport& last, int64_t non_finite_steps,
                                                 absl::Time now) {
  denoised::v1::TrainingProgress message;
  const double steps = static_cast<double>(sums_.steps);
  const double finite_steps = static_cast<double>(sums_.finite_steps);  // 0: the means are NaN
  message.set_step(last.step);
  message.set_loss(sums_.loss / finite_steps);
  message.set_learning_rate(last.learning_rate);
  message.set_gradient_norm(last.gradient_norm);
  message.set_non_finite_steps(non_finite_steps);
  message.set_epochs(static_cast<double>(last.step) * facts_.batch_size /
                     static_cast<double>(facts_.pictures));
  if (sums_.device_seconds > 0) {
    message.set_pictures_per_second(steps * facts_.batch_size / sums_.device_seconds);
  }
  if (last.simple_loss) message.set_simple_loss(sums_.simple_loss / finite_steps);
  if (last.vlb_loss) message.set_vlb_loss(sums_.vlb_loss / finite_steps);
  if (now > since_) *message.mutable_time_left() = ToProto(TimeLeft(last.step, now));
  device_seconds_before_ += sums_.device_seconds;
  sums_ = {};
  steps_here_ = 0;
  since_ = now;
  return message;
}

absl::Duration RunProgress::TimeLeft(int64_t step, absl::Time now) const {
  const double seconds_a_step =
      absl::ToDoubleSeconds(now - since_) / static_cast<double>(std::max<int64_t>(steps_here_, 1));
  return absl::Seconds(seconds_a_step * static_cast<double>(facts_.max_steps - step));
}

std::string RunProgress::Encode(std::string_view trainer_state) const {
  return Json{{"steps", sums_.steps},
              {"finite_steps", sums_.finite_steps},
              {"loss", sums_.loss},
              {"simple_loss", sums_.simple_loss},
              {"vlb_loss", sums_.vlb_loss},
              {"window_seconds", sums_.device_seconds},
              {"seconds_before", device_seconds_before_},
              {"trainer", trainer_state}}
      .dump();
}

absl::StatusOr<std::string> RunProgress::Decode(std::string_view json) {
  const auto parsed = ParseStrictJsonObject(json);
  if (!parsed.ok()) return absl::DataLossError(parsed.status().message());
  ConfigReader reader(*parsed, ConfigReader::Null::kValue);
  Sums sums;
  double before = 0;
  std::string trainer;
  reader.Read("steps", sums.steps, kSteps);
  reader.Read("finite_steps", sums.finite_steps, kSteps);
  reader.Read("loss", sums.loss);
  reader.Read("simple_loss", sums.simple_loss);
  reader.Read("vlb_loss", sums.vlb_loss);
  reader.Read("window_seconds", sums.device_seconds);
  reader.Read("seconds_before", before);
  reader.Read("trainer", trainer);
  const absl::Status status = reader.Finish("a training checkpoint");
  if (!status.ok()) return absl::DataLossError(status.message());
  sums_ = sums;
  device_seconds_before_ = before;
  return trainer;
}

}  // namespace denoise
