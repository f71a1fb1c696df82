#include "core/train/training_options.h"

#include <gmock/gmock.h>

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "core/base/field_violations.h"

namespace denoise {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

TrainingOptions Valid() {
  TrainingOptions options;
  options.max_steps = 10;
  return options;
}

std::vector<std::string> ViolatedFields(const TrainingOptions& options) {
  std::vector<std::string> fields;
  for (const FieldViolation& violation : GetFieldViolations(ValidateTrainingOptions(options))) {
    fields.push_back(violation.field);
  }
  return fields;
}

TEST(TrainingOptions, DefaultsOnlyLackTheNumberOfSteps) {
  EXPECT_TRUE(ValidateTrainingOptions(Valid()).ok());
  EXPECT_THAT(ViolatedFields({}), testing::ElementsAre("max_steps"));
}

TEST(TrainingOptions, EveryViolationIsNamedAtOnce) {
  TrainingOptions options;
  options.objective = {.vlb_weight = -1,
                       .min_snr_gamma = 0,
                       .p2_gamma = kNan,
                       .p2_k = kInfinity,
                       .log_normal_mean = kNan,
                       .log_normal_std = 0,
                       .label_dropout = 1.5};
  options.optimizer = {.learning_rate = kNan,
                       .beta1 = 1,
                       .beta2 = -0.1,
                       .epsilon = 0,
                       .weight_decay = kInfinity,
                       .max_gradient_norm = -1,
                       .warmup_steps = -1};
  options.augmentation.random_crop_scale = 0.5;
  options.max_steps = 0;
  options.batch_size = 0;
  options.micro_batch_size = 0;
  options.ema_decays = {0.9, 1, kNan};
  options.max_non_finite_steps = 0;
  EXPECT_THAT(
      ViolatedFields(options),
      testing::UnorderedElementsAre(
          "objective.vlb_weight", "objective.min_snr_gamma", "objective.p2_gamma", "objective.p2_k",
          "objective.log_normal_mean", "objective.log_normal_std", "objective.label_dropout",
          "optimizer.learning_rate", "optimizer.beta1", "optimizer.beta2", "optimizer.epsilon",
          "optimizer.weight_decay", "optimizer.max_gradient_norm", "optimizer.warmup_steps",
          "augmentation.random_crop_scale", "max_steps", "batch_size", "micro_batch_size",
          "ema_decays[1]", "ema_decays[2]", "max_non_finite_steps"));
}

TEST(TrainingOptions, NumbersAreFiniteInFloat32) {
  TrainingOptions options = Valid();
  options.optimizer.learning_rate = 1e39;
  options.optimizer.max_gradient_norm = 1e300;
  EXPECT_THAT(ViolatedFields(options),
              testing::ElementsAre("optimizer.learning_rate", "optimizer.max_gradient_norm"));
}

TEST(TrainingOptions, AsksForOneToFourAverages) {
  TrainingOptions options = Valid();
  options.ema_decays = {};
  EXPECT_THAT(ViolatedFields(options), testing::ElementsAre("ema_decays"));
  options.ema_decays = {0.9, 0.99, 0.999, 0.9999, 0.5};
  EXPECT_THAT(ViolatedFields(options), testing::ElementsAre("ema_decays"));
}

TEST(TrainingOptions, BoundsWhatMemoryIsSpentOn) {
  TrainingOptions options = Valid();
  options.batch_size = 65536;
  EXPECT_THAT(ViolatedFields(options), testing::IsEmpty());
  options.batch_size = 65537;
  options.augmentation.random_crop_scale = 1e9;
  EXPECT_THAT(ViolatedFields(options),
              testing::ElementsAre("augmentation.random_crop_scale", "batch_size"));
}

}  // namespace
}  // namespace denoise
