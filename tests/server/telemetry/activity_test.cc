#include "server/telemetry/activity.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/time_util.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <utility>

#include "core/sampling/samplers/compile_plan.h"
#include "tests/support/fake_clock.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using google::protobuf::util::TimeUtil;

constexpr absl::Duration kInterval = absl::Milliseconds(250);

int64_t Milliseconds(const google::protobuf::Duration& duration) {
  return TimeUtil::DurationToMilliseconds(duration);
}

class ActivityTest : public testing::Test {
 protected:
  std::unique_ptr<Activity::Watcher> Watch(std::function<void()> wake = [] {}) {
    return activity_.Watch(kInterval, std::move(wake));
  }

  v1::ActivitySnapshot Now() { return *Watch()->Next(); }

  FakeClock clock_;
  Activity activity_{{"cpu", "cuda:0"}, clock_};
};

TEST_F(ActivityTest, DevicesAreIdleAtFirst) {
  const v1::ActivitySnapshot snapshot = Now();
  ASSERT_EQ(snapshot.devices_size(), 2);
  EXPECT_EQ(snapshot.devices(0).device(), "cpu");
  EXPECT_EQ(snapshot.devices(1).device(), "cuda:0");
  for (const v1::DeviceActivity& device : snapshot.devices()) {
    EXPECT_EQ(device.turn(), v1::DeviceActivity::IDLE);
    EXPECT_EQ(device.images_size(), 0);
  }
  EXPECT_EQ(snapshot.request().samples(), 0);
  EXPECT_FALSE(snapshot.request().has_p50());
}

TEST_F(ActivityTest, ATurnShowsWhoTakesPartAndWhereTheyAre) {
  GenerationRequest request;
  request.name = "generations/a";
  request.model = "models/faces";
  request.plan = std::make_shared<const SamplerPlan>(
      *CompilePlan(*Schedule::Create({}), {.sampler = SamplerKind::kDdim, .steps = 10}));
  activity_.TurnBegan("cuda:0", {.kind = TurnReport::Kind::kEvaluate,
                                 .began = absl::UnixEpoch() + absl::Seconds(5),
                                 .active_rows = 3,
                                 .images = {{.request = &request,
                                             .index = 1,
                                             .height = 64,
                                             .width = 32,
                                             .rows = 2,
                                             .evaluations_done = 4,
                                             .steps_done = 4,
                                             .timestep = 500}}});
  const v1::ActivitySnapshot snapshot = Now();
  EXPECT_EQ(snapshot.devices(0).turn(), v1::DeviceActivity::IDLE);
  const v1::DeviceActivity& device = snapshot.devices(1);
  EXPECT_EQ(device.turn(), v1::DeviceActivity::EVALUATE);
  EXPECT_EQ(device.turn_time().seconds(), 5);
  EXPECT_EQ(device.active_rows(), 3);
  ASSERT_EQ(device.images_size(), 1);
  const v1::ActiveImage& image = device.images(0);
  EXPECT_EQ(image.generation(), "generations/a");
  EXPECT_EQ(image.image_index(), 1);
  EXPECT_EQ(image.model(), "models/faces");
  EXPECT_EQ(image.height(), 64);
  EXPECT_EQ(image.width(), 32);
  EXPECT_EQ(image.rows(), 2);
  EXPECT_EQ(image.evaluation(), 4);
  EXPECT_EQ(image.evaluations(), 10);
  EXPECT_EQ(image.step(), 4);
  EXPECT_EQ(image.steps(), 10);
  EXPECT_EQ(image.timestep(), 500);

  activity_.TurnBegan("cuda:0", {.kind = TurnReport::Kind::kTask, .task = "trainingJobs/7"});
  const v1::ActivitySnapshot training = Now();
  EXPECT_EQ(training.devices(1).turn(), v1::DeviceActivity::TRAIN);
  EXPECT_EQ(training.devices(1).training_job(), "trainingJobs/7");
  EXPECT_EQ(training.devices(1).images_size(), 0);
}

TEST_F(ActivityTest, SumsGrowDeviceByDevice) {
  activity_.Evaluated("cpu", 3, absl::Milliseconds(100));
  activity_.Evaluated("cpu", 5, absl::Milliseconds(200));
  activity_.Encoded("cpu", absl::Milliseconds(10));
  activity_.Decoded("cpu", absl::Milliseconds(20));
  activity_.Trained("cuda:0", absl::Milliseconds(30));
  activity_.Trained("cuda:0", -absl::Seconds(1));  // the clock was set back
  activity_.ImageGenerated();
  activity_.ImageGenerated();
  const v1::ActivitySnapshot snapshot = Now();
  const v1::DeviceActivity& cpu = snapshot.devices(0);
  EXPECT_EQ(cpu.evaluations(), 2);
  EXPECT_EQ(cpu.rows(), 8);
  EXPECT_EQ(Milliseconds(cpu.evaluating()), 300);
  EXPECT_EQ(Milliseconds(cpu.encoding()), 10);
  EXPECT_EQ(Milliseconds(cpu.decoding()), 20);
  EXPECT_EQ(Milliseconds(cpu.training()), 0);
  EXPECT_EQ(Milliseconds(snapshot.devices(1).training()), 30);
  EXPECT_EQ(snapshot.images(), 2);
}

TEST_F(ActivityTest, QuantilesAreThoseOfTheLastFiveMinutes) {
  for (int i = 100; i >= 1; --i) activity_.RequestSucceeded(absl::Milliseconds(i));
  activity_.QueueWaited(absl::Milliseconds(7));
  v1::ActivitySnapshot snapshot = Now();
  EXPECT_EQ(snapshot.request().samples(), 100);
  EXPECT_EQ(Milliseconds(snapshot.request().p50()), 50);
  EXPECT_EQ(Milliseconds(snapshot.request().p95()), 95);
  EXPECT_EQ(Milliseconds(snapshot.request().p99()), 99);
  EXPECT_EQ(snapshot.queue_wait().samples(), 1);
  EXPECT_EQ(Milliseconds(snapshot.queue_wait().p99()), 7);
  EXPECT_EQ(snapshot.first_frame().samples(), 0);

  clock_.Advance(absl::Minutes(3));
  activity_.RequestSucceeded(absl::Milliseconds(1000));
  clock_.Advance(absl::Minutes(3));
  snapshot = Now();
  EXPECT_EQ(snapshot.request().samples(), 1);
  EXPECT_EQ(Milliseconds(snapshot.request().p50()), 1000);
  EXPECT_EQ(snapshot.queue_wait().samples(), 0);
  EXPECT_FALSE(snapshot.queue_wait().has_p50());
}

TEST_F(ActivityTest, QuantilesAreOfAtMostAThousandAndTwentyFour) {
  for (int i = 0; i < 3000; ++i) activity_.FirstFrameSent(absl::Milliseconds(i));
  const v1::Latency latency = Now().first_frame();
  EXPECT_EQ(latency.samples(), 1024);
  EXPECT_EQ(Milliseconds(latency.p50()), 3000 - 1024 + 511);
}

TEST_F(ActivityTest, AWatcherGetsTheFirstSnapshotAtOnceAndIsWokenForAChangeAfterItsInterval) {
  std::promise<void> woken;
  const auto watcher = Watch([&] { woken.set_value(); });
  ASSERT_TRUE(watcher->Next().has_value());
  activity_.Queued(1);
  activity_.Queued(2);
  EXPECT_EQ(watcher->Next(), std::nullopt);  // the first is too young
  clock_.AwaitDeadline();
  clock_.Advance(kInterval);
  woken.get_future().get();
  const std::optional<v1::ActivitySnapshot> second = watcher->Next();
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->queued(), 2);  // one snapshot for both changes
}

TEST_F(ActivityTest, WithoutAChangeNobodyIsWoken) {
  std::atomic<int> wakes = 0;
  std::promise<void> other_woken;
  const auto quiet = activity_.Watch(kInterval, [&] { ++wakes; });
  ASSERT_TRUE(quiet->Next().has_value());
  EXPECT_EQ(quiet->Next(), std::nullopt);
  clock_.Advance(kInterval * 10);
  activity_.Queued(0);  // as before: no change
  EXPECT_EQ(quiet->Next(), std::nullopt);
  EXPECT_EQ(wakes, 0);

  activity_.Queued(1);  // now both are due
  const auto other = Watch([&] { other_woken.set_value(); });
  ASSERT_TRUE(other->Next().has_value());
  activity_.Queued(2);
  EXPECT_EQ(other->Next(), std::nullopt);
  clock_.AwaitDeadline();
  clock_.Advance(kInterval);
  other_woken.get_future().get();
  EXPECT_EQ(wakes, 1);
}

TEST_F(ActivityTest, EveryWatcherCanBeWoken) {
  int wakes = 0;
  const auto watcher = Watch([&] { ++wakes; });
  activity_.WakeAll();
  EXPECT_EQ(wakes, 1);
}

}  // namespace
}  // namespace denoise
