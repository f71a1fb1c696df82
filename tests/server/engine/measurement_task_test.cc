#include "server/engine/measurement_task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "core/pipeline/pixel_pipeline.h"
#include "server/engine/engine.h"
#include "tests/support/fake_clock.h"
#include "tests/support/gaussian_network.h"

namespace denoise {
namespace {

using testing::ElementsAre;
using testing::Pair;

// A network whose evaluations take as long as the test says.
class MeasurementTaskTest : public testing::Test {
 protected:
  using TimeOf = std::function<absl::Duration(int rows)>;

  std::shared_ptr<const PipelineReplicas> Pipelines(TimeOf time_of) {
    return std::make_shared<const PipelineReplicas>(
        PipelineReplicas{PixelPipeline(std::make_shared<GaussianNetwork>(
            *Schedule::Create({}), GaussianData{}, 3, 8, 8,
            [this, time_of = std::move(time_of)](const NetworkInput& input) {
              EXPECT_EQ(input.x.size(2), 8);
              clock_.Advance(time_of(static_cast<int>(input.x.size(0))));
            }))});
  }

  // Runs the task to its end, and returns how often each number of rows was recorded.
  std::map<int, int> Measure(const std::shared_ptr<const PipelineReplicas>& pipelines,
                             MeasurementTask::Options options = {.max_rows = 16}) {
    std::map<int, int> recorded;
    MeasurementTask task(pipelines, 0, options, &clock_, &memory_,
                         [&](int rows, absl::Duration) { ++recorded[rows]; });
    while (task.RunSlice() == DeviceTask::Outcome::kMore) {
    }
    return recorded;
  }

  FakeClock clock_;
  MemoryBudget memory_;
};

TEST_F(MeasurementTaskTest, DoublesTheRowsWhileThatRaisesTheThroughput) {
  const auto flat_up_to_four = Pipelines([](int rows) {
    return rows <= 4 ? absl::Milliseconds(10) : absl::Milliseconds(10) * rows / 4;
  });
  EXPECT_THAT(Measure(flat_up_to_four),
              ElementsAre(Pair(1, 3), Pair(2, 3), Pair(4, 3), Pair(8, 3)));
}

TEST_F(MeasurementTaskTest, StopsAtTheLargestBatch) {
  const auto flat = Pipelines([](int) { return absl::Milliseconds(10); });
  EXPECT_THAT(Measure(flat, {.max_rows = 6}), ElementsAre(Pair(1, 3), Pair(2, 3), Pair(4, 3)));
}

TEST_F(MeasurementTaskTest, StopsOnceItHasUsedItsTime) {
  const auto slow = Pipelines([](int) { return absl::Seconds(2); });
  EXPECT_THAT(Measure(slow, {.max_rows = 16, .budget = absl::Seconds(5)}), ElementsAre(Pair(1, 2)));
}

TEST_F(MeasurementTaskTest, LetsGoOfAModelThatIsUnloaded) {
  auto pipelines = Pipelines([](int) { return absl::Milliseconds(10); });
  MeasurementTask task(pipelines, 0, {}, &clock_, &memory_, [](int, absl::Duration) {});
  EXPECT_EQ(task.RunSlice(), DeviceTask::Outcome::kMore);
  pipelines.reset();
  EXPECT_EQ(task.RunSlice(), DeviceTask::Outcome::kDone);
}

TEST_F(MeasurementTaskTest, TheEngineKnowsWhatWasMeasuredAndWhatItIsTold) {
  Engine engine({.max_batch_rows = 2}, clock_, nullptr);
  const auto pipelines =
      Pipelines([](int rows) { return absl::Milliseconds(rows == 1 ? 20 : 30); });
  engine.Measure(pipelines);
  while (engine.EvaluationTimes(pipelines).size() < 2) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_EQ(engine.EvaluationTimes(pipelines)[0].time, absl::Milliseconds(20));
  EXPECT_EQ(engine.EvaluationTimes(pipelines)[1].time, absl::Milliseconds(30));
  const auto others = Pipelines([](int) { return absl::Seconds(1); });
  engine.SetEvaluationTimes(others, {{.rows = 4, .time = absl::Seconds(7)}});
  ASSERT_EQ(engine.EvaluationTimes(others).size(), 1u);
  EXPECT_EQ(engine.EvaluationTimes(others)[0].rows, 4);
  EXPECT_EQ(engine.EvaluationTimes(others)[0].time, absl::Seconds(7));
}

}  // namespace
}  // namespace denoise
