// Training in less than float32.
#include <gmock/gmock.h>

#include <limits>
#include <stdexcept>

#include "tests/core/train/trainer_testing.h"

namespace denoise {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(TrainerPrecision, ComputesInBFloat16WithWeightsInFloat32) {
  TrainingOptions options = SmallOptions();
  options.precision = TrainingPrecision::kBFloat16;
  const auto trainer = Make(options);
  const std::vector<StepReport> reports = Train(*trainer, 200);
  EXPECT_LT(MeanLoss(reports, 180, 20), 0.9 * MeanLoss(reports, 0, 20));
  for (const auto& [name, tensor] : SnapshotOf(*trainer).tensors) {
    EXPECT_EQ(tensor.scalar_type(), at::kFloat) << name;
  }
  const auto exact = Make(SmallOptions());
  Train(*exact, 200);
  EXPECT_FALSE(BitEqual(SnapshotOf(*exact).tensors, SnapshotOf(*trainer).tensors));
}

// Gradients here are so large that float16 cannot hold them at the first scales.
TEST(TrainerPrecision, FindsALossScaleThatFloat16CanHold) {
  TrainingOptions options = SmallOptions();
  options.precision = TrainingPrecision::kFloat16;
  const TinyNetworkOptions network = {.hook = [](const TinyNetworkCall&) { return 100.0F; }};
  const auto trainer = Make(options, network);
  const std::vector<StepReport> reports = Train(*trainer, 20);
  EXPECT_TRUE(reports.front().skipped);
  EXPECT_FALSE(reports.back().skipped);
  EXPECT_GT(trainer->non_finite_steps(), 1);
  // The norm is reported without the scale: as in float32, had the same steps been skipped.
  const int64_t skipped = trainer->non_finite_steps();
  const auto exact = Make(SmallOptions(), {.hook = [skipped](const TinyNetworkCall& call) {
                            return call.number <= 3 * skipped ? kNan : 100.0F;
                          }});
  const auto first = static_cast<size_t>(skipped);
  const double norm = Train(*exact, static_cast<int>(skipped) + 1)[first].gradient_norm;
  EXPECT_NEAR(reports[first].gradient_norm / norm, 1, 0.01);

  const auto other = Make(options, network);
  ASSERT_TRUE(other->Restore(SnapshotOf(*trainer)).ok());
  EXPECT_EQ(SnapshotOf(*other).state, SnapshotOf(*trainer).state);
  EXPECT_FALSE(Train(*other, 1).front().skipped);
}

TEST(TrainerPrecision, APrecisionThatTheDeviceLacksIsRefused) {
  TrainingOptions options = SmallOptions();
  options.precision = TrainingPrecision::kFloat16;
  const auto trainer = Trainer::Create(TinySetup(
      {.hook = [](const TinyNetworkCall&) -> float { throw std::runtime_error("no kernel"); }},
      options));
  EXPECT_THAT(ViolatedFields(trainer.status()), testing::ElementsAre("precision"));
}

}  // namespace
}  // namespace denoise
