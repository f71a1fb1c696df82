#include "core/train/training_options.h"

#include <cmath>
#include <limits>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"

namespace denoise {
namespace {

// A step keeps a handful of numbers per row, and never all pictures at once.
constexpr int kMaxBatchSize = 1 << 16;
constexpr double kMaxCropScale = 8;
constexpr size_t kMaxEmaDecays = 4;

class Check {
 public:
  void Require(bool condition, std::string_view field, std::string_view message) {
    if (!condition) violations_.Add(field, message);
  }

  // Finite in float32, which training computes in. NaN and infinities fail every check.
  void Positive(double value, std::string_view field) {
    Require(IsFinite(value) && value > 0, field,
            absl::StrCat("must be a finite number above 0, is ", value));
  }
  void NotNegative(double value, std::string_view field) {
    Require(IsFinite(value) && value >= 0, field,
            absl::StrCat("must be a finite number of at least 0, is ", value));
  }
  void Finite(double value, std::string_view field) {
    Require(IsFinite(value), field, absl::StrCat("must be a finite number, is ", value));
  }
  void Between(double min, double max, double value, std::string_view field) {
    Require(value >= min && value <= max, field,
            absl::StrCat("must be between ", min, " and ", max, ", is ", value));
  }
  void AtLeast(int64_t min, int64_t value, std::string_view field) {
    violations_.CheckAtLeast(field, value, min);
  }
  void BelowOne(double value, std::string_view field) {
    Require(value >= 0 && value < 1, field,
            absl::StrCat("must be at least 0 and below 1, is ", value));
  }

  absl::Status ToStatus() const { return violations_.ToStatus(); }

 private:
  static bool IsFinite(double value) {
    return std::abs(value) <= double{std::numeric_limits<float>::max()};
  }

  FieldViolations violations_;
};

void CheckObjective(const ObjectiveOptions& options, Check& check) {
  check.NotNegative(options.vlb_weight, "objective.vlb_weight");
  check.Positive(options.min_snr_gamma, "objective.min_snr_gamma");
  check.NotNegative(options.p2_gamma, "objective.p2_gamma");
  check.Positive(options.p2_k, "objective.p2_k");
  check.Finite(options.log_normal_mean, "objective.log_normal_mean");
  check.Positive(options.log_normal_std, "objective.log_normal_std");
  check.Between(0, 1, options.label_dropout, "objective.label_dropout");
}

void CheckOptimizer(const OptimizerOptions& options, Check& check) {
  check.Positive(options.learning_rate, "optimizer.learning_rate");
  check.BelowOne(options.beta1, "optimizer.beta1");
  check.BelowOne(options.beta2, "optimizer.beta2");
  check.Positive(options.epsilon, "optimizer.epsilon");
  check.NotNegative(options.weight_decay, "optimizer.weight_decay");
  check.NotNegative(options.max_gradient_norm, "optimizer.max_gradient_norm");
  check.AtLeast(0, options.warmup_steps, "optimizer.warmup_steps");
}

void CheckEmaDecays(const std::vector<double>& decays, Check& check) {
  check.Require(!decays.empty() && decays.size() <= kMaxEmaDecays, "ema_decays",
                absl::StrCat("must have 1 to ", kMaxEmaDecays, " entries, has ", decays.size()));
  for (size_t i = 0; i < decays.size() && i < kMaxEmaDecays; ++i) {
    check.Require(decays[i] > 0 && decays[i] < 1, absl::StrCat("ema_decays[", i, "]"),
                  absl::StrCat("must be above 0 and below 1, is ", decays[i]));
  }
}

}  // namespace

absl::Status ValidateTrainingOptions(const TrainingOptions& options) {
  Check check;
  CheckObjective(options.objective, check);
  CheckOptimizer(options.optimizer, check);
  check.Between(1, kMaxCropScale, options.augmentation.random_crop_scale,
                "augmentation.random_crop_scale");
  check.AtLeast(1, options.max_steps, "max_steps");
  check.Between(1, kMaxBatchSize, options.batch_size, "batch_size");
  check.AtLeast(1, options.micro_batch_size, "micro_batch_size");
  CheckEmaDecays(options.ema_decays, check);
  check.AtLeast(1, options.max_non_finite_steps, "max_non_finite_steps");
  return check.ToStatus();
}

}  // namespace denoise
