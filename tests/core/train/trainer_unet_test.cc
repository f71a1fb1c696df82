// Training of real networks.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "core/base/status_macros.h"
#include "core/nn/unet2d.h"
#include "tests/core/train/trainer_testing.h"

namespace denoise {
namespace {

constexpr int kSteps = 2;

constexpr char kConfig[] = R"({"sample_size": 8, "in_channels": 1, "out_channels": 1,
    "block_out_channels": [8, 16], "norm_num_groups": 4, "layers_per_block": 1,
    "num_class_embeds": 3, "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"]})";

Trainer::Setup UNetSetup(TrainingPrecision precision, int micro_batch_size) {
  TrainingOptions options;
  options.objective.label_dropout = 0.2;
  options.max_steps = 100;
  options.batch_size = 6;
  options.micro_batch_size = micro_batch_size;
  options.precision = precision;
  Trainer::Setup setup = TinySetup({.height = 8, .width = 8, .num_class_embeds = 3}, options);
  const UNet2DConfig config = ParseUNet2DConfig(kConfig).value();
  setup.weights = InitializeUNet2D(config, 1);
  setup.binder = [config](const StateDict& parameters, at::ScalarType dtype) {
    return BindUNet2D(config, parameters, dtype, {.batch_invariant = false});
  };
  return setup;
}

absl::StatusOr<TrainingSnapshot> TrainStraight(const Trainer::Setup& setup) {
  ASSIGN_OR_RETURN(const auto trainer, Trainer::Create(setup));
  RETURN_IF_ERROR(RunSteps(*trainer, kSteps).status());
  return trainer->Snapshot();
}

absl::StatusOr<TrainingSnapshot> TrainWithABreak(const Trainer::Setup& setup) {
  ASSIGN_OR_RETURN(auto trainer, Trainer::Create(setup));
  RETURN_IF_ERROR(RunSteps(*trainer, 1).status());
  RETURN_IF_ERROR(trainer->RunSlice().status());
  ASSIGN_OR_RETURN(const TrainingSnapshot snapshot, trainer->Snapshot());
  ASSIGN_OR_RETURN(trainer, Trainer::Create(setup));
  RETURN_IF_ERROR(trainer->Restore(snapshot));
  RETURN_IF_ERROR(RunSteps(*trainer, kSteps - 1).status());
  return trainer->Snapshot();
}

// One thread, where a test does not ask for more: they wait for each other at every operator, which
// takes long where tests run side by side.
class TrainerOfAUNet : public testing::Test {
 protected:
  void SetUp() override { at::set_num_threads(1); }
};

void ExpectRepeats(const Trainer::Setup& setup) {
  const auto straight = TrainStraight(setup), interrupted = TrainWithABreak(setup);
  ASSERT_TRUE(straight.ok()) << straight.status();
  ASSERT_TRUE(interrupted.ok()) << interrupted.status();
  EXPECT_TRUE(BitEqual(straight->tensors, interrupted->tensors));
  EXPECT_EQ(straight->state, interrupted->state);
}

TEST_F(TrainerOfAUNet, RepeatsAnUninterruptedRunBitForBit) {
  at::set_num_threads(2);
  ExpectRepeats(UNetSetup(TrainingPrecision::kFloat32, 4));
}

TEST_F(TrainerOfAUNet, RepeatsAnUndisturbedRunInBFloat16) {
  ExpectRepeats(UNetSetup(TrainingPrecision::kBFloat16, 4));
}

TEST_F(TrainerOfAUNet, MicroBatchesAddUpToTheWholeBatch) {
  const auto whole = TrainStraight(UNetSetup(TrainingPrecision::kFloat32, 6));
  const auto parts = TrainStraight(UNetSetup(TrainingPrecision::kFloat32, 4));
  ASSERT_TRUE(whole.ok() && parts.ok());
  // The first updates of Adam are signs of gradients, which rounding may turn.
  EXPECT_TRUE(Close(whole->tensors, parts->tensors, 1e-2, 2e-4));
}

// LibTorch on the CPU has no convolutions in float16, or has; either way there is an answer.
TEST_F(TrainerOfAUNet, Float16OnACpuWorksOrIsRefusedByName) {
  const auto trainer = Trainer::Create(UNetSetup(TrainingPrecision::kFloat16, 6));
  if (trainer.ok()) {
    EXPECT_TRUE(RunSteps(**trainer, 1).ok());
  } else {
    EXPECT_EQ(trainer.status().code(), absl::StatusCode::kInvalidArgument) << trainer.status();
    EXPECT_TRUE(std::string(trainer.status().message()).starts_with("precision: "));
  }
}

}  // namespace
}  // namespace denoise
