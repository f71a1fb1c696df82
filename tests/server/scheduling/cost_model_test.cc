#include "server/scheduling/cost_model.h"

#include <gtest/gtest.h>

#include <utility>

namespace denoise {
namespace {

EvaluationCurve Curve(const std::vector<std::pair<int, int>>& milliseconds, int samples = 3) {
  EvaluationCurve curve;
  for (const auto& [rows, time] : milliseconds) {
    for (int i = 0; i < samples; ++i) curve.Record(rows, absl::Milliseconds(time));
  }
  return curve;
}

TEST(MeasuredTime, IsTheMeanAtFirstAndFollowsChangesLater) {
  MeasuredTime time;
  time.Record(absl::Seconds(1));
  time.Record(absl::Seconds(3));
  EXPECT_EQ(time.typical(), absl::Seconds(2));
  EXPECT_EQ(time.shortest(), absl::Seconds(1));
  for (int i = 0; i < 100; ++i) time.Record(absl::Seconds(10));
  EXPECT_GT(time.typical(), absl::Seconds(9.99));
}

TEST(MeasuredTime, IgnoresAClockThatWasSetBack) {
  MeasuredTime time;
  time.Record(absl::Seconds(2));
  time.Record(-absl::Hours(1));
  EXPECT_EQ(time.typical(), absl::Seconds(2));
  EXPECT_EQ(time.shortest(), absl::Seconds(2));
}

TEST(MeasuredTime, AnAssumptionHoldsUntilSomethingIsMeasured) {
  MeasuredTime time;
  time.Assume(absl::Seconds(9));
  EXPECT_EQ(time.typical(), absl::Seconds(9));
  EXPECT_EQ(time.shortest(), absl::InfiniteDuration());
  EXPECT_TRUE(time.known());
  time.Record(absl::Seconds(1));
  EXPECT_EQ(time.typical(), absl::Seconds(1));
  time.Assume(absl::Seconds(9));
  EXPECT_EQ(time.typical(), absl::Seconds(1));
}

TEST(EvaluationCurve, IgnoresAClockThatWasSetBack) {
  EvaluationCurve curve;
  curve.Record(4, -absl::Seconds(1));
  EXPECT_TRUE(curve.empty());
}

TEST(CostModel, SizesThatCallersChooseDisplaceNoOtherForLong) {
  CostModel model;
  const auto network = std::make_shared<const int>();
  model.Of(network, 64, 64).rows_max = 2;
  for (int size = 100; size < 3000; ++size) model.Of(network, size, size);
  ASSERT_NE(model.Find(network, 64, 64), nullptr) << "what memory has held is kept";
  EXPECT_EQ(model.Find(network, 64, 64)->rows_max, 2);
}

TEST(EvaluationCurve, InterpolatesBetweenWhatWasMeasured) {
  const EvaluationCurve curve = Curve({{2, 100}, {4, 140}, {8, 260}});
  EXPECT_EQ(curve.TimeOf(2), absl::Milliseconds(100));
  EXPECT_EQ(curve.TimeOf(3), absl::Milliseconds(120));
  EXPECT_EQ(curve.TimeOf(8), absl::Milliseconds(260));
  EXPECT_EQ(curve.TimeOf(1), absl::Milliseconds(100)) << "not known to be faster";
  EXPECT_EQ(curve.TimeOf(16), absl::Milliseconds(520)) << "not known to be cheaper";
  EXPECT_EQ(curve.Shortest(), absl::Milliseconds(100));
}

TEST(EvaluationCurve, TheKneeIsWhereMoreRowsHardlyRaiseTheThroughput) {
  // Rows a second: 50, 80, 98, 100, 100.
  const EvaluationCurve curve = Curve({{1, 20}, {2, 25}, {4, 41}, {8, 80}, {16, 160}});
  EXPECT_EQ(curve.Knee(0.95, 16), 4);
  EXPECT_EQ(curve.Knee(0.75, 16), 2);
  EXPECT_EQ(curve.Knee(0.995, 16), 8);
  EXPECT_EQ(curve.Knee(0.95, 3), 3) << "of 2, the most that fits, it still rises";
}

TEST(EvaluationCurve, ThereIsNoKneeWhileTooLittleIsKnown) {
  EXPECT_EQ(EvaluationCurve().Knee(0.95, 16), 16);
  EXPECT_EQ(Curve({{4, 40}}).Knee(0.95, 16), 16) << "one number of rows says nothing";
  EXPECT_EQ(Curve({{1, 40}, {8, 50}}).Knee(0.95, 16), 16) << "it still rises";
  EXPECT_EQ(Curve({{1, 20}, {2, 40}}, 2).Knee(0.95, 16), 16) << "measured twice only";
}

TEST(CostModel, KeepsNetworksAndSizesApartAndForgetsNetworksThatAreGone) {
  CostModel model;
  auto network = std::make_shared<const int>();
  const auto other = std::make_shared<const int>();
  model.Of(network, 64, 64).evaluation.Record(1, absl::Seconds(1));
  EXPECT_NE(model.Find(network, 64, 64), nullptr);
  EXPECT_EQ(model.Find(network, 64, 32), nullptr);
  EXPECT_EQ(model.Find(other, 64, 64), nullptr);
  const std::weak_ptr<const int> gone = network;
  network.reset();
  model.Of(other, 8, 8);
  EXPECT_EQ(model.Find(gone.lock(), 64, 64), nullptr);
}

}  // namespace
}  // namespace denoise
