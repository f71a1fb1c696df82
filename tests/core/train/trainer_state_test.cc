// What a trainer hands out and takes back.
#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <gmock/gmock.h>

#include <limits>

#include "tests/core/train/trainer_testing.h"

namespace denoise {
namespace {

using absl::StatusCode;

TEST(TrainerState, AveragesHandedOutStayAsTheyAre) {
  const auto trainer = Make(SmallOptions());
  Train(*trainer, 20);
  const StateDict before = *trainer->EmaWeights(0);
  const auto network = *trainer->EmaNetwork(0);
  EXPECT_TRUE(BitEqual(before, *trainer->EmaWeights(0)));
  EXPECT_FALSE(BitEqual(before, *trainer->EmaWeights(1)));
  const NetworkInput input = {.x = at::ones({1, 1, 4, 4}), .timesteps = at::ones({1})};
  const at::Tensor answer = network->Forward(input);
  Train(*trainer, 3);
  EXPECT_FALSE(BitEqual(before, *trainer->EmaWeights(0)));
  EXPECT_TRUE(at::equal(network->Forward(input), answer));
  EXPECT_FALSE(at::equal((*trainer->EmaNetwork(0))->Forward(input), answer));
}

TEST(TrainerState, ASnapshotTakenWithinAStepIsThatBeforeIt) {
  const auto trainer = Make(SmallOptions());
  Train(*trainer, 2);
  const TrainingSnapshot between = SnapshotOf(*trainer);
  ASSERT_TRUE(trainer->RunSlice().ok());
  const TrainingSnapshot within = SnapshotOf(*trainer);
  EXPECT_EQ(within.step, 2);
  EXPECT_EQ(within.state, between.state);
  EXPECT_TRUE(BitEqual(within.tensors, between.tensors));
}

// As the server does after too many steps that are not finite.
TEST(TrainerState, ARunThatWentBackDrawsAnewAndGoesOnBitForBit) {
  Trainer::Setup setup = TinySetup({}, SmallOptions());
  const auto before = Make(setup);
  Train(*before, 2);
  const TrainingSnapshot second = SnapshotOf(*before);
  Train(*before, 3);
  setup.rolled_back_to = 2;
  const auto after = Make(setup);
  Train(*after, 2);
  EXPECT_TRUE(BitEqual(SnapshotOf(*after).tensors, second.tensors));
  Train(*after, 1);
  const TrainingSnapshot third = SnapshotOf(*after);
  Train(*after, 2);
  EXPECT_FALSE(BitEqual(SnapshotOf(*after).tensors, SnapshotOf(*before).tensors));

  for (const TrainingSnapshot& snapshot : {second, third}) {
    const auto resumed = Make(setup);
    ASSERT_TRUE(resumed->Restore(snapshot).ok());
    Train(*resumed, static_cast<int>(5 - snapshot.step));
    EXPECT_TRUE(BitEqual(SnapshotOf(*resumed).tensors, SnapshotOf(*after).tensors));
  }
}

TEST(TrainerState, ARunThatWentBackCountsStepsThatAreNotFiniteAnew) {
  TrainingOptions options = SmallOptions();
  options.max_non_finite_steps = 3;
  Trainer::Setup setup = TinySetup(
      {.hook = [](const TinyNetworkCall&) { return std::numeric_limits<float>::quiet_NaN(); }},
      options);
  const auto before = Make(setup);
  Train(*before, 2);
  const TrainingSnapshot snapshot = SnapshotOf(*before);
  const auto resumed = Make(setup);
  ASSERT_TRUE(resumed->Restore(snapshot).ok());
  EXPECT_EQ(RunSteps(*resumed, 1).status().code(), StatusCode::kAborted);

  setup.rolled_back_to = 2;
  const auto after = Make(setup);
  ASSERT_TRUE(after->Restore(snapshot).ok());
  Train(*after, 2);
  EXPECT_EQ(RunSteps(*after, 1).status().code(), StatusCode::kAborted);
}

TEST(TrainerState, OnlyRestoresWhatBelongsToIt) {
  const auto trainer = Make(SmallOptions());
  Train(*trainer, 2);
  const TrainingSnapshot good = SnapshotOf(*trainer);

  TrainingOptions other = SmallOptions();
  other.seed = 5;
  EXPECT_THAT(ViolatedFields(Make(other)->Restore(good)), testing::ElementsAre("seed"));
  EXPECT_EQ(Make(SmallOptions(), {.height = 5})->Restore(good).code(),
            StatusCode::kInvalidArgument);

  TrainingSnapshot bad = good;
  bad.tensors.erase("adam.v.out");
  EXPECT_EQ(trainer->Restore(bad).code(), StatusCode::kInvalidArgument);
  bad = good;
  bad.tensors["weights.surplus"] = at::ones({1});
  EXPECT_EQ(trainer->Restore(bad).code(), StatusCode::kInvalidArgument);
  bad = good;
  bad.tensors["timesteps.losses"] = at::ones({1});
  EXPECT_EQ(trainer->Restore(bad).code(), StatusCode::kInvalidArgument);
  bad = good;
  bad.state = "{}";
  EXPECT_EQ(trainer->Restore(bad).code(), StatusCode::kInvalidArgument);
  for (const int64_t step : {int64_t{-1}, int64_t{201}}) {
    bad = good;
    bad.step = step;
    EXPECT_THAT(ViolatedFields(trainer->Restore(bad)), testing::ElementsAre("max_steps"));
  }
  EXPECT_TRUE(BitEqual(SnapshotOf(*trainer).tensors, good.tensors));

  other = SmallOptions();
  other.max_steps = 2;  // may change
  const auto shorter = Make(other);
  ASSERT_TRUE(shorter->Restore(good).ok());
  EXPECT_TRUE(shorter->done());
}

}  // namespace
}  // namespace denoise
