// Training losses against those of the reference implementation.
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <cmath>
#include <optional>

#include "tests/core/train/objective_testing.h"
#include "tests/support/vlb_reference.h"

namespace denoise {
namespace {

constexpr double kTimesteps = 1000;

// The bound's term counts as often as there are timesteps here, and once there.
std::optional<ObjectiveOptions> ObjectiveOf(const VlbCase& reference) {
  const VarianceType variance = reference.variance_type();
  if (!reference.values.contains("mse")) {
    if (variance == VarianceType::kLearned) return std::nullopt;  // refused
    return ObjectiveOptions{.loss = LossKind::kVariationalBound};
  }
  if (variance != VarianceType::kLearnedRange) return ObjectiveOptions{};
  return ObjectiveOptions{.loss = LossKind::kHybrid, .vlb_weight = 1 / kTimesteps};
}

// Those whose network predicts what ours may, and which can be trained.
std::vector<VlbCase> Cases() {
  std::vector<VlbCase> cases = LoadVlbCases();
  std::erase_if(cases, [](const VlbCase& reference) {
    return reference.is_loop() || reference.mean() == "PREVIOUS_X" || !ObjectiveOf(reference);
  });
  return cases;
}

class LossReference : public testing::TestWithParam<VlbCase> {};

INSTANTIATE_TEST_SUITE_P(AllCases, LossReference, testing::ValuesIn(Cases()),
                         [](const auto& instance) { return instance.param.name(); });

TEST_P(LossReference, IsTheSame) {
  const VlbCase& reference = GetParam();
  const SchedulerConfig config =
      Config(reference.schedule(), reference.prediction_type(), reference.variance_type());
  const ObjectiveOptions options = *ObjectiveOf(reference);
  const VlbNetwork network(reference.variance_type());
  const Objective objective = *Objective::Create(config, options, network.spec());
  const Objective::Losses losses =
      objective.Evaluate(network, {VlbPictures(), {}}, kVlbTimesteps, VlbNoise());
  const bool bound_alone = options.loss == LossKind::kVariationalBound;
  // A variance of type learned is no part of what is trained here; there it is.
  const bool simple_alone = options.loss == LossKind::kSimple;
  const std::vector<double> expected = reference.Numbers(simple_alone ? "mse" : "loss");
  const at::Tensor loss = bound_alone ? losses.loss / kTimesteps : losses.loss;
  for (int64_t row = 0; row < 4; ++row) {
    const double value = expected[static_cast<size_t>(row)];
    // Float32 leaves L_0, the first row, few digits; see variational_bound_reference_test.
    const double relative = row == 0 && !simple_alone ? 3e-3 : 1e-4;
    EXPECT_NEAR(loss[row].item<double>(), value, relative * value + 2e-7) << row;
  }
  if (!bound_alone) {
    const double mse = reference.Numbers("mse")[2];
    EXPECT_NEAR(losses.simple[2].item<double>(), mse, 1e-4 * mse);
  }
}

}  // namespace
}  // namespace denoise
