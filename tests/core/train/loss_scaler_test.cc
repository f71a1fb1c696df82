#include "core/train/loss_scaler.h"

#include <gtest/gtest.h>

namespace denoise {
namespace {

TEST(LossScaler, HalvesWhereGradientsAreNotFinite) {
  LossScaler scaler(TrainingPrecision::kFloat16);
  EXPECT_EQ(scaler.scale(), 65536);
  scaler.Update(false);
  scaler.Update(false);
  EXPECT_EQ(scaler.scale(), 16384);
}

TEST(LossScaler, DoublesAfterTwoThousandFiniteStepsInARow) {
  LossScaler scaler(TrainingPrecision::kFloat16);
  for (int step = 0; step < 1999; ++step) scaler.Update(true);
  EXPECT_EQ(scaler.scale(), 65536);
  scaler.Update(false);
  for (int step = 0; step < 1999; ++step) scaler.Update(true);
  EXPECT_EQ(scaler.scale(), 32768);
  scaler.Update(true);
  EXPECT_EQ(scaler.scale(), 65536);
  EXPECT_EQ(scaler.state().finite_steps, 0);
}

TEST(LossScaler, GoesOnFromItsState) {
  LossScaler first(TrainingPrecision::kFloat16), second(TrainingPrecision::kFloat16);
  first.Update(false);
  for (int step = 0; step < 1500; ++step) first.Update(true);
  second.SetState(first.state());
  for (int step = 0; step < 500; ++step) second.Update(true);
  EXPECT_EQ(second.scale(), 65536);
}

TEST(LossScaler, LeavesPrecisionsWithTheRangeOfFloat32Alone) {
  for (const auto precision : {TrainingPrecision::kFloat32, TrainingPrecision::kBFloat16}) {
    LossScaler scaler(precision);
    scaler.Update(false);
    for (int step = 0; step < 3000; ++step) scaler.Update(true);
    EXPECT_EQ(scaler.scale(), 1);
  }
}

}  // namespace
}  // namespace denoise
