// What every family of noise schedules keeps.
#include "core/sampling/schedules/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "core/base/field_violations.h"

namespace denoise {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct FamilyCase {
  const char* name;
  ScheduleOptions options;
  ScheduleFamily family;
  double image;                   // the timestep of the image itself
  std::vector<double> timesteps;  // some others, ever noisier
};

void PrintTo(const FamilyCase& family_case, std::ostream* stream) { *stream << family_case.name; }

class EveryFamily : public testing::TestWithParam<FamilyCase> {
 protected:
  Schedule schedule() const { return Schedule::Create(GetParam().options).value(); }
};

TEST_P(EveryFamily, StartsAtTheImageAndBecomesEverNoisier) {
  const NoiseLevel image = schedule().LevelAt(GetParam().image);
  EXPECT_EQ(image.alpha, 1);
  EXPECT_EQ(image.sigma, 0);
  double log_snr = kInfinity;
  for (double timestep : GetParam().timesteps) {
    const double next = schedule().LevelAt(timestep).log_snr();
    EXPECT_LT(next, log_snr) << timestep;
    log_snr = next;
  }
}

TEST_P(EveryFamily, SaysWhichTimestepStandsForTheImage) {
  EXPECT_EQ(schedule().image_timestep(), GetParam().image);
}

TEST_P(EveryFamily, FindsTheTimestepOfALevel) {
  for (double timestep : GetParam().timesteps) {
    EXPECT_NEAR(schedule().TimestepAt(schedule().LevelAt(timestep)), timestep, 1e-9);
  }
}

TEST_P(EveryFamily, KnowsItself) {
  EXPECT_EQ(schedule().family(), GetParam().family);
  EXPECT_EQ(schedule().As<VpSchedule>() != nullptr,
            GetParam().family == ScheduleFamily::kVariancePreserving);
}

INSTANTIATE_TEST_SUITE_P(
    All, EveryFamily,
    testing::Values(
        FamilyCase{
            "vp", VpOptions{}, ScheduleFamily::kVariancePreserving, -1, {0, 1, 50, 998, 999}},
        FamilyCase{"edm", EdmOptions{}, ScheduleFamily::kEdm, -kInfinity, {-1, 0, 1.1}},
        FamilyCase{"consistency",
                   EdmOptions{.num_train_timesteps = 40, .consistency_model = true},
                   ScheduleFamily::kConsistency,
                   -kInfinity,
                   {-1000, 0, 1095}},
        FamilyCase{"flow", FlowOptions{}, ScheduleFamily::kFlow, 0, {0.5, 20, 500, 999.5}}),
    [](const auto& instance) { return std::string(instance.param.name); });

TEST(Schedule, EdmsTimestepIsAQuarterOfLogSigma) {
  const Schedule schedule = Schedule::Create(EdmOptions{}).value();
  EXPECT_NEAR(schedule.TimestepAt({1, 80}), 0.25 * std::log(80), 1e-12);
  EXPECT_NEAR(schedule.sigma(0.25 * std::log(0.002)), 0.002, 1e-12);
  EXPECT_EQ(schedule.alpha(1), 1);
}

TEST(Schedule, ConsistencyModelsGetAThousandTimesThat) {
  const Schedule schedule = Schedule::Create(EdmOptions{.consistency_model = true}).value();
  EXPECT_NEAR(schedule.TimestepAt({1, 80}), 250 * std::log(80), 1e-9);
}

TEST(Schedule, FlowIsAStraightLine) {
  const Schedule schedule = Schedule::Create(FlowOptions{.num_train_timesteps = 100}).value();
  EXPECT_NEAR(schedule.alpha(25), 0.75, 1e-12);
  EXPECT_NEAR(schedule.sigma(25), 0.25, 1e-12);
  EXPECT_EQ(schedule.alpha(100), 0);
}

TEST(Schedule, InvertedFlowGoesTheOtherWay) {
  const Schedule schedule = Schedule::Create(FlowOptions{.invert_sigmas = true}).value();
  EXPECT_EQ(schedule.sigma(0), 1);
  EXPECT_EQ(schedule.sigma(1000), 0);
  EXPECT_NEAR(schedule.TimestepAt(schedule.LevelAt(250)), 250, 1e-9);
}

struct BadSchedule {
  const char* field;
  ScheduleOptions options;
};

TEST(Schedule, RefusesWhatIsOutOfRangeAndNamesIt) {
  const BadSchedule bad_schedules[] = {
      {"num_train_timesteps", VpOptions{.num_train_timesteps = 0}},
      {"num_train_timesteps", EdmOptions{.num_train_timesteps = 0}},
      {"num_train_timesteps", FlowOptions{.num_train_timesteps = 100001}},
      {"sigma_min", EdmOptions{.sigma_min = 0}},
      {"sigma_min", EdmOptions{.sigma_min = kNaN}},
      {"sigma_max", EdmOptions{.sigma_max = kInfinity}},
      {"sigma_max", EdmOptions{.sigma_min = 2, .sigma_max = 1}},
      {"sigma_max", EdmOptions{.sigma_min = 2, .sigma_max = 2}},
      {"sigma_data", EdmOptions{.sigma_data = -1}},
      {"rho", EdmOptions{.rho = 0}},
      {"shift", FlowOptions{.shift = 0}},
      {"shift", FlowOptions{.shift = kNaN}},
      {"max_shift", FlowOptions{.use_dynamic_shifting = true, .image_seq_len = 1 << 30}},
      {"shift_terminal", FlowOptions{.shift_terminal = 1}},
      {"shift_terminal", FlowOptions{.shift_terminal = kNaN}},
  };
  for (const BadSchedule& bad : bad_schedules) {
    const absl::Status status = Schedule::Create(bad.options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(GetFieldViolations(status),
                testing::ElementsAre(testing::Field(&FieldViolation::field, bad.field)))
        << status;
  }
}

}  // namespace
}  // namespace denoise
