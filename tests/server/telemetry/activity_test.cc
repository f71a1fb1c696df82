#include "server/telemetry/activity.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/time_util.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <future>
#include <memory>
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

  static std::shared_ptr<const v1::ActivitySnapshot> Next(Activity::Watcher& watcher) {
    return watcher.Next([](v1::ActivitySnapshot& snapshot) { snapshot.set_max_queued(64); });
  }

  v1::ActivitySnapshot Now() { return *Next(*Watch()); }

  // A turn of this kind begins.
  void Begin(TurnReport::Kind kind) {
    activity_.TurnBegan("cpu", {.kind = kind, .began = clock_.Now()});
  }

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

  activity_.TurnBegan("cuda:0", {.kind = TurnReport::Kind::kTrain, .task = "trainingJobs/7"});
  const v1::ActivitySnapshot training = Now();
  EXPECT_EQ(training.devices(1).turn(), v1::DeviceActivity::TRAIN);
  EXPECT_EQ(training.devices(1).training_job(), "trainingJobs/7");
  EXPECT_EQ(training.devices(1).images_size(), 0);
}

TEST_F(ActivityTest, ADevicesTimeIsCountedTurnByTurn) {
  const std::pair<TurnReport::Kind, int> turns[] = {
      {TurnReport::Kind::kEncode, 10}, {TurnReport::Kind::kEvaluate, 100},
      {TurnReport::Kind::kIdle, 1000}, {TurnReport::Kind::kEvaluate, 200},
      {TurnReport::Kind::kDecode, 20}, {TurnReport::Kind::kTrain, 30}};
  for (const auto& [kind, milliseconds] : turns) {
    Begin(kind);
    clock_.Advance(absl::Milliseconds(milliseconds));
  }
  const v1::ActivitySnapshot training = Now();
  EXPECT_EQ(Milliseconds(training.devices(0).encoding()), 10);
  EXPECT_EQ(Milliseconds(training.devices(0).evaluating()), 300);
  EXPECT_EQ(Milliseconds(training.devices(0).decoding()), 20);
  EXPECT_EQ(Milliseconds(training.devices(0).training()), 0) << "that turn has not ended";
  Begin(TurnReport::Kind::kIdle);
  EXPECT_EQ(Milliseconds(Now().devices(0).training()), 30);

  Begin(TurnReport::Kind::kTrain);
  clock_.Advance(-absl::Hours(1));
  Begin(TurnReport::Kind::kIdle);
  EXPECT_EQ(Milliseconds(Now().devices(0).training()), 30) << "the clock was set back";
  EXPECT_EQ(Milliseconds(Now().devices(1).evaluating()), 0);
}

TEST_F(ActivityTest, EvaluationsAndImagesAreCounted) {
  activity_.Evaluated("cpu", 3);
  activity_.Evaluated("cpu", 5);
  activity_.Evaluated("cuda:0", 1);
  activity_.ImageGenerated();
  activity_.ImageGenerated();
  const v1::ActivitySnapshot snapshot = Now();
  EXPECT_EQ(snapshot.devices(0).evaluations(), 2);
  EXPECT_EQ(snapshot.devices(0).rows(), 8);
  EXPECT_EQ(snapshot.devices(1).rows(), 1);
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
  ASSERT_NE(Next(*watcher), nullptr);
  activity_.ImageGenerated();
  activity_.ImageGenerated();
  EXPECT_EQ(Next(*watcher), nullptr);  // the first is too young
  clock_.AwaitDeadline();
  clock_.Advance(kInterval);
  woken.get_future().get();
  const auto second = Next(*watcher);
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(second->images(), 2);  // one snapshot for both changes
  EXPECT_EQ(second->max_queued(), 64);
}

TEST_F(ActivityTest, WithoutAChangeNobodyIsWoken) {
  std::atomic<int> wakes = 0;
  std::promise<void> other_woken;
  const auto quiet = activity_.Watch(kInterval, [&] { ++wakes; });
  ASSERT_NE(Next(*quiet), nullptr);
  EXPECT_EQ(Next(*quiet), nullptr);
  clock_.Advance(kInterval * 10);
  EXPECT_EQ(Next(*quiet), nullptr);
  EXPECT_EQ(wakes, 0);

  activity_.ImageGenerated();  // now it is due
  const auto other = Watch([&] { other_woken.set_value(); });
  ASSERT_NE(Next(*other), nullptr);
  activity_.ImageGenerated();
  EXPECT_EQ(Next(*other), nullptr);
  clock_.AwaitDeadline();
  clock_.Advance(kInterval);
  other_woken.get_future().get();
  EXPECT_EQ(wakes, 1);
}

TEST_F(ActivityTest, WatchersShareSnapshots) {
  int made = 0;
  const auto count = [&](v1::ActivitySnapshot&) { ++made; };
  const auto first = Watch(), second = Watch();
  EXPECT_EQ(first->Next(count), second->Next(count));
  EXPECT_EQ(made, 1);
  activity_.ImageGenerated();
  clock_.Advance(kInterval);
  EXPECT_EQ(first->Next(count)->images(), 1);
  EXPECT_EQ(second->Next(count)->images(), 1);
  EXPECT_EQ(made, 2);
}

TEST_F(ActivityTest, QuantilesThatExpireAreAChange) {
  std::promise<void> woken;
  activity_.RequestSucceeded(absl::Seconds(1));
  const auto watcher = Watch([&] { woken.set_value(); });
  ASSERT_EQ(Next(*watcher)->request().samples(), 1);
  EXPECT_EQ(Next(*watcher), nullptr);
  clock_.AwaitDeadline();
  clock_.Advance(absl::Minutes(5));
  woken.get_future().get();
  EXPECT_EQ(Next(*watcher)->request().samples(), 0);
}

TEST_F(ActivityTest, AClockThatIsSetBackStopsNoWatcher) {
  const auto watcher = Watch();
  ASSERT_NE(Next(*watcher), nullptr);
  clock_.Advance(-absl::Hours(1));
  activity_.ImageGenerated();
  EXPECT_NE(Next(*watcher), nullptr);
}

TEST_F(ActivityTest, EveryWatcherCanBeWoken) {
  int wakes = 0;
  const auto watcher = Watch([&] { ++wakes; });
  activity_.WakeAll();
  EXPECT_EQ(wakes, 1);
}

}  // namespace
}  // namespace denoise
