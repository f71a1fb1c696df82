#include "core/sampling/schedules/vp_schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <ostream>
#include <string>

#include "core/base/field_violations.h"
#include "core/sampling/options/option_names.h"

namespace denoise {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

VpSchedule MakeSchedule(const VpOptions& options) {
  absl::StatusOr<VpSchedule> schedule = VpSchedule::Create(options);
  EXPECT_TRUE(schedule.ok()) << schedule.status();
  return *schedule;
}

// From the library, float32.
struct PublishedSchedule {
  BetaSchedule kind;
  double start, end;
  bool zero_snr;
  double beta_500, beta_999;
  double alphas_cumprod_0, alphas_cumprod_500, alphas_cumprod_999;
  double sum;
};

void PrintTo(const PublishedSchedule& published, std::ostream* stream) {
  *stream << NameOf(published.kind) << (published.zero_snr ? ", zero SNR" : "");
}

class PublishedSchedules : public testing::TestWithParam<PublishedSchedule> {};

TEST_P(PublishedSchedules, HaveTheLibrarysValues) {
  const PublishedSchedule& published = GetParam();
  const VpSchedule schedule = MakeSchedule({.beta_schedule = published.kind,
                                            .beta_start = published.start,
                                            .beta_end = published.end,
                                            .rescale_betas_zero_snr = published.zero_snr});
  EXPECT_EQ(schedule.num_train_timesteps(), 1000);
  // Rescaling subtracts nearly equal numbers, of which the library's float32 keeps fewer digits.
  const double tolerance = published.zero_snr ? 5e-5 : 2e-5;
  const auto expect_near = [&](double actual, double expected) {
    EXPECT_NEAR(actual, expected, tolerance * std::abs(expected));
  };
  expect_near(schedule.betas()[500], published.beta_500);
  expect_near(schedule.betas()[999], published.beta_999);
  const std::vector<double>& alphas_cumprod = schedule.alphas_cumprod();
  expect_near(alphas_cumprod[0], published.alphas_cumprod_0);
  expect_near(alphas_cumprod[500], published.alphas_cumprod_500);
  expect_near(alphas_cumprod[999], published.alphas_cumprod_999);
  expect_near(std::accumulate(alphas_cumprod.begin(), alphas_cumprod.end(), 0.0), published.sum);
}

constexpr double kLow = 1e-4, kHigh = 0.02;

INSTANTIATE_TEST_SUITE_P(
    All, PublishedSchedules,
    testing::Values(
        PublishedSchedule{BetaSchedule::kLinear, kLow, kHigh, false, 0.010059960186481476,
                          0.019999999552965164, 0.9998999834060669, 0.07779666036367416,
                          4.0358307160204276e-05, 275.51320117862633},
        PublishedSchedule{BetaSchedule::kLinear, kLow, kHigh, true, 0.010292530059814453, 1.0,
                          0.9998999834060669, 0.07524622976779938, 0, 274.0580523953629},
        PublishedSchedule{BetaSchedule::kScaledLinear, 0.00085, 0.012, false, 0.004814954474568367,
                          0.011999999172985554, 0.9991499781608582, 0.2763324975967407,
                          0.0046600960195064545, 373.37648375472054},
        PublishedSchedule{BetaSchedule::kScaledLinear, 0.00085, 0.012, true, 0.0055304765701293945,
                          1.0, 0.9991499781608582, 0.24101859331130981, 0, 352.1791929406581},
        PublishedSchedule{BetaSchedule::kSquaredCosCapV2, kLow, kHigh, false, 0.003155691549181938,
                          0.9990000128746033, 0.9999586939811707, 0.4922850430011749,
                          2.4287349909002387e-09, 495.5774839997695},
        PublishedSchedule{BetaSchedule::kSquaredCosCapV2, kLow, kHigh, true, 0.003155827522277832,
                          1.0, 0.9999587535858154, 0.4922647774219513, 0, 495.56413219957017},
        PublishedSchedule{BetaSchedule::kSigmoid, kLow, kHigh, false, 0.010079879313707352,
                          0.01995079591870308, 0.9998508095741272, 0.29888758063316345,
                          3.9681821363046765e-05, 428.53674551832955},
        PublishedSchedule{BetaSchedule::kSigmoid, kLow, kHigh, true, 0.010196208953857422, 1.0,
                          0.9998507499694824, 0.2957541346549988, 0, 427.4067998209138}),
    [](const auto& instance) {
      return std::string(NameOf(instance.param.kind)) +
             (instance.param.zero_snr ? "_zero_snr" : "");
    });

TEST(VpSchedule, TrainedBetasReplaceTheFormula) {
  const VpSchedule schedule =
      MakeSchedule({.num_train_timesteps = 1000, .trained_betas = {0.1, 0.5}});
  EXPECT_EQ(schedule.num_train_timesteps(), 2);
  EXPECT_THAT(schedule.alphas_cumprod(),
              testing::ElementsAre(testing::DoubleEq(0.9), testing::DoubleEq(0.45)));
}

TEST(VpSchedule, AlphaAndSigmaPreserveVariance) {
  const VpSchedule schedule = MakeSchedule({});
  for (int t : {0, 1, 500, 999}) {
    const NoiseLevel level = schedule.LevelAt(t);
    EXPECT_DOUBLE_EQ(level.alpha * level.alpha + level.sigma * level.sigma, 1);
    EXPECT_NEAR(level.log_snr(), 2 * std::log(level.alpha / level.sigma), 1e-9);
  }
}

TEST(VpSchedule, ZeroTerminalSnrLeavesNoSignal) {
  const VpSchedule schedule = MakeSchedule({.rescale_betas_zero_snr = true});
  EXPECT_EQ(schedule.alphas_cumprod().back(), 0);
  EXPECT_EQ(schedule.LevelAt(999).log_snr(), -kInfinity);
}

TEST(VpSchedule, WithSignalHasTheLeastOfFloat16WhereThereWasNone) {
  const VpSchedule none = MakeSchedule({.rescale_betas_zero_snr = true});
  EXPECT_DOUBLE_EQ(none.WithSignal().alphas_cumprod().back(), std::pow(2.0, -24));
  EXPECT_EQ(none.WithSignal().alphas_cumprod()[998], none.alphas_cumprod()[998]);
  const VpSchedule some = MakeSchedule({});
  EXPECT_EQ(some.WithSignal().alphas_cumprod(), some.alphas_cumprod());
}

TEST(VpSchedule, AlphasCumprodIsLinearBetweenTimestepsDownToTheImageItself) {
  const VpSchedule schedule = MakeSchedule({.trained_betas = {0.2, 0.5}});
  const auto alpha_cumprod = [&](double t) { return std::pow(schedule.LevelAt(t).alpha, 2); };
  EXPECT_EQ(schedule.LevelAt(-1).alpha, 1);
  EXPECT_EQ(schedule.LevelAt(-1).sigma, 0);
  EXPECT_NEAR(alpha_cumprod(-0.5), 0.9, 1e-12);
  EXPECT_NEAR(alpha_cumprod(0), 0.8, 1e-12);
  EXPECT_NEAR(alpha_cumprod(0.25), 0.7, 1e-12);
  EXPECT_NEAR(alpha_cumprod(1), 0.4, 1e-12);
}

TEST(VpSchedule, ARoundingErrorBeyondTheLastTimestepIsTheLastTimestep) {
  const VpSchedule schedule = MakeSchedule({});
  EXPECT_EQ(schedule.LevelAt(std::nextafter(999.0, 1000.0)).alpha, schedule.LevelAt(999).alpha);
  EXPECT_EQ(schedule.RatioAt(std::nextafter(999.0, 1000.0)), schedule.RatioAt(999));
}

TEST(VpSchedule, TheSamplersInSigmaSeeItLinearInSigmaAndGoBackInLogSigma) {
  const VpSchedule schedule = MakeSchedule({.trained_betas = {0.2, 0.5}});
  EXPECT_NEAR(schedule.RatioAt(0), 0.5, 1e-12);
  EXPECT_NEAR(schedule.RatioAt(0.5), (0.5 + std::sqrt(1.5)) / 2, 1e-12);
  EXPECT_EQ(schedule.TimestepAt(std::log(0.1)), 0);
  EXPECT_EQ(schedule.TimestepAt(std::log(10)), 1);
  EXPECT_NEAR(schedule.TimestepAt((std::log(0.5) + std::log(1.5) / 2) / 2), 0.5, 1e-12);
}

struct BadSchedule {
  const char* field;
  VpOptions options;
};

TEST(VpSchedule, RefusesWhatIsOutOfRangeAndNamesIt) {
  const BadSchedule bad_schedules[] = {
      {"num_train_timesteps", {.num_train_timesteps = 0}},
      {"num_train_timesteps", {.num_train_timesteps = -1}},
      {"num_train_timesteps", {.num_train_timesteps = 100001}},
      {"num_train_timesteps", {.num_train_timesteps = std::numeric_limits<int>::max()}},
      {"beta_start", {.beta_start = 0}},
      {"beta_start", {.beta_start = -0.1}},
      {"beta_start", {.beta_start = kNaN}},
      {"beta_end", {.beta_end = 1}},
      {"beta_end", {.beta_end = kInfinity}},
      {"trained_betas", {.trained_betas = {0.1, kNaN}}},
      {"trained_betas", {.trained_betas = {0.1, 1.5}}},
      {"trained_betas", {.trained_betas = std::vector<double>(100001, 0.01)}},
      {"trained_betas", {.trained_betas = std::vector<double>(1000, 0.999)}},  // 1e-3000 is zero
      {"beta_end", {.num_train_timesteps = 100000}},
      {"rescale_betas_zero_snr", {.trained_betas = {0.1}, .rescale_betas_zero_snr = true}},
  };
  for (const BadSchedule& bad : bad_schedules) {
    const absl::Status status = VpSchedule::Create(bad.options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(GetFieldViolations(status),
                testing::ElementsAre(testing::Field(&FieldViolation::field, bad.field)));
  }
}

}  // namespace
}  // namespace denoise
