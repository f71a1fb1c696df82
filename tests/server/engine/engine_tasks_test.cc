// Tasks beside generation, on the engine's own threads.
#include <ATen/Parallel.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/randn.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/FakeGuardImpl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <new>
#include <stdexcept>
#include <thread>

#include "core/base/retry.h"
#include "core/io/checkpoint.h"
#include "core/sampling/samplers/compile_plan.h"
#include "server/engine/engine.h"
#include "tests/server/engine/gate.h"
#include "tests/server/engine/recording_sink.h"
#include "tests/server/engine/silent_observer.h"
#include "tests/support/class_conditions.h"
#include "tests/support/gaussian_network.h"

namespace denoise {
namespace {

using Outcome = DeviceTask::Outcome;

class FunctionTask : public DeviceTask {
 public:
  explicit FunctionTask(std::function<Outcome()> slice) : slice_(std::move(slice)) {}
  std::string name() const override { return "trainingJobs/7"; }
  Outcome RunSlice() override { return slice_(); }
  void OnFailed(const absl::Status& status) override { failed_.set_value(status); }

  // Waits for it. A second failure would throw on the worker's thread.
  absl::Status WaitUntilFailed() {
    std::future<absl::Status> failed = failed_.get_future();
    if (failed.wait_for(std::chrono::seconds(60)) == std::future_status::ready) return failed.get();
    return absl::DeadlineExceededError("it was never told");
  }

 private:
  const std::function<Outcome()> slice_;
  std::promise<absl::Status> failed_;
};

class TaskObserver : public SilentObserver {
 public:
  void OnSlice(const std::string& device, absl::Duration duration) override {
    EXPECT_FALSE(device.empty());
    EXPECT_GE(duration, absl::ZeroDuration());
    ++slices;
  }
  void OnTaskFailed(const std::string& device, const std::string& what) override {
    EXPECT_FALSE(device.empty());
    failures.push_back(what);
  }

  void OnTurn(const std::string&, const TurnReport& turn) override {
    if (turn.kind == TurnReport::Kind::kTrain) {
      EXPECT_EQ(turn.task, "trainingJobs/7");
      ++turns;
    }
    is_idle = turn.kind == TurnReport::Kind::kIdle;
  }

  std::atomic<int> slices = 0, turns = 0;
  std::atomic<bool> is_idle = false;
  std::vector<std::string> failures;  // the worker's, until the engine is gone
};

class EngineTasksTest : public testing::Test {
 protected:
  static std::shared_ptr<const PipelineReplicas> Networks(GaussianNetwork::Hook hook = nullptr) {
    return std::make_shared<PipelineReplicas>(
        PipelineReplicas{PixelPipeline(std::make_shared<GaussianNetwork>(
            *Schedule::Create({}), GaussianData{}, 3, 6, 6, std::move(hook)))});
  }

  static GenerationRequest Request(std::shared_ptr<const PipelineReplicas> networks,
                                   int steps = 10) {
    GenerationRequest request;
    request.shape = networks->front()->network->spec().sample;
    request.pipelines = std::move(networks);
    request.plan = std::make_shared<const SamplerPlan>(
        *CompilePlan(*Schedule::Create({}), {.sampler = SamplerKind::kDdim, .steps = steps}));
    return request;
  }

  static std::shared_ptr<RecordingSink> Submit(Engine& engine, GenerationRequest request) {
    auto sink = std::make_shared<RecordingSink>();
    const auto submitted = engine.Submit(std::move(request), sink);
    EXPECT_TRUE(submitted.ok()) << submitted.status();
    return sink;
  }

  static std::shared_ptr<FunctionTask> Task(std::function<Outcome()> slice) {
    return std::make_shared<FunctionTask>(std::move(slice));
  }

  TaskObserver observer_;
};

TEST_F(EngineTasksTest, ATaskGoesOnUntilItIsDone) {
  std::promise<int> done;
  int slices = 0;
  {
    Engine engine({}, Clock::Real(), &observer_);
    engine.AddTask(Task([&] {
                     if (++slices < 5) return Outcome::kMore;
                     done.set_value(slices);
                     return Outcome::kDone;
                   }),
                   0);
    EXPECT_EQ(done.get_future().get(), 5);
  }
  EXPECT_EQ(slices, 5);
  EXPECT_EQ(observer_.slices, 5);
  EXPECT_EQ(observer_.turns, 5);
  EXPECT_TRUE(observer_.is_idle);
}

TEST_F(EngineTasksTest, OnlyEvaluationsRunInInferenceModeAndBothWithTheWorkersThreads) {
  std::atomic<bool> evaluation_infers = false, slice_infers = true;
  std::atomic<int> slice_threads = 0;
  Engine engine({.cpu_threads = 3, .training_share = 0.5}, Clock::Real(), nullptr);
  std::promise<void> ran;
  engine.AddTask(Task([&] {
                   slice_infers = c10::InferenceMode::is_enabled();
                   slice_threads = at::get_num_threads();
                   ran.set_value();
                   return Outcome::kDone;
                 }),
                 0);
  ran.get_future().get();
  const auto networks =
      Networks([&](const NetworkInput&) { evaluation_infers = c10::InferenceMode::is_enabled(); });
  EXPECT_EQ(Submit(engine, Request(networks))->WaitUntilFinished(), absl::OkStatus());
  EXPECT_TRUE(evaluation_infers);
  EXPECT_FALSE(slice_infers);
  EXPECT_EQ(slice_threads, 3);
}

TEST_F(EngineTasksTest, ARequestThatArrivesDuringASliceIsEvaluatedRightAfterIt) {
  Gate gate;
  std::atomic<int> slices = 0, slices_at_first_evaluation = -1;
  Engine engine({.training_share = 0.9}, Clock::Real(), nullptr);
  const Engine::TaskId task = engine.AddTask(Task([&] {
                                               ++slices;
                                               gate.Pass();
                                               return Outcome::kMore;
                                             }),
                                             0);
  gate.WaitUntilReached();
  const auto sink = Submit(engine, Request(Networks([&](const NetworkInput&) {
                             if (slices_at_first_evaluation < 0) {
                               slices_at_first_evaluation = slices.load();
                             }
                           })));
  gate.Open();
  EXPECT_EQ(sink->WaitUntilFinished(), absl::OkStatus());
  EXPECT_EQ(slices_at_first_evaluation, 1);
  engine.RemoveTask(task);
}

TEST_F(EngineTasksTest, ATaskThatThrowsHearsOfItAndNothingElseSuffers) {
  std::atomic<int> healthy_slices = 0;
  std::promise<void> healthy_goes_on;
  const auto on_fire = Task([]() -> Outcome { throw std::runtime_error("on fire"); });
  const auto too_large = Task([]() -> Outcome { throw std::bad_alloc(); });
  const auto odd = Task([]() -> Outcome { throw 7; });  // NOLINT: not an exception's type
  {
    Engine engine({.training_share = 0.5}, Clock::Real(), &observer_);
    for (const auto& task : {on_fire, too_large, odd}) engine.AddTask(task, 0);
    engine.AddTask(Task([&] {
                     if (++healthy_slices < 10) return Outcome::kMore;
                     healthy_goes_on.set_value();
                     return Outcome::kDone;
                   }),
                   0);
    healthy_goes_on.get_future().get();
    EXPECT_EQ(Submit(engine, Request(Networks()))->WaitUntilFinished(), absl::OkStatus());
  }
  EXPECT_EQ(on_fire->WaitUntilFailed(), absl::InternalError("the device failed: on fire"));
  EXPECT_EQ(too_large->WaitUntilFailed().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(odd->WaitUntilFailed().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(observer_.slices, 13);
  EXPECT_THAT(observer_.failures, testing::SizeIs(3));
  EXPECT_THAT(observer_.failures, testing::Contains("the device failed: on fire"));
}

// LibTorch's fake of an accelerator, which fails whenever it is waited for: then it has failed for
// good.
C10_REGISTER_GUARD_IMPL(PrivateUse1, c10::impl::FakeGuardImpl<c10::DeviceType::PrivateUse1>);

TEST_F(EngineTasksTest, ATaskHearsOfKernelsThatFailAfterItsSlice) {
  for (const Outcome outcome : {Outcome::kMore, Outcome::kIdle, Outcome::kDone}) {
    std::atomic<int> slices = 0;
    const auto task = Task([&] {
      ++slices;
      return outcome;
    });
    {
      Engine engine({.devices = {at::Device(c10::DeviceType::PrivateUse1, 0)}}, Clock::Real(),
                    &observer_);
      const Engine::TaskId id = engine.AddTask(task, 0);
      EXPECT_EQ(task->WaitUntilFailed(), DeviceFailedError());
      engine.Wake(id);
    }
    EXPECT_EQ(slices, 1);
    EXPECT_EQ(task.use_count(), 1);
  }
  EXPECT_THAT(observer_.failures, testing::IsEmpty()) << "it is the device that has failed";
}

TEST_F(EngineTasksTest, NoSliceRunsOnceRemovalHasReturned) {
  Engine engine({}, Clock::Real(), nullptr);
  for (int round = 0; round < 20; ++round) {
    std::promise<void> began;
    std::atomic<bool> inside = false, removed = false, ran_after = false;
    int slices = 0;
    const Engine::TaskId task = engine.AddTask(Task([&] {
                                                 inside = true;
                                                 if (++slices == 1) began.set_value();
                                                 ran_after = ran_after || removed;
                                                 std::this_thread::yield();
                                                 inside = false;
                                                 return Outcome::kMore;
                                               }),
                                               0);
    began.get_future().get();
    engine.RemoveTask(task);
    removed = true;
    EXPECT_FALSE(inside);
    EXPECT_FALSE(ran_after);
  }
}

TEST_F(EngineTasksTest, WhatIsLeftWhenTheEngineGoesIsLetGoOf) {
  std::weak_ptr<DeviceTask> alive;
  {
    Engine engine({}, Clock::Real(), nullptr);
    auto task = Task([] { return Outcome::kMore; });
    alive = task;
    engine.AddTask(std::move(task), 0);
  }
  EXPECT_TRUE(alive.expired());
}

// Forward and backward of a convolution: as much of the device as a training step would take.
class AutogradTask : public DeviceTask {
 public:
  Outcome RunSlice() override {
    const at::Tensor loss = at::conv2d(pictures_, weight_, {}, 1, 1).square().mean();
    loss.backward();
    ++slices;
    return Outcome::kMore;
  }

  void OnFailed(const absl::Status& status) override { ADD_FAILURE() << status; }

  std::atomic<int> slices = 0;

 private:
  const at::Tensor pictures_ = at::randn({4, 16, 32, 32});
  const at::Tensor weight_ = at::randn({16, 16, 3, 3}).set_requires_grad(true);
};

TEST_F(EngineTasksTest, ImagesMadeBesideAutogradAreBitForBitThoseMadeAlone) {
  const auto checkpoint = LoadCheckpoint("tests/data/reference/unet/class-conditional-v", {});
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  GenerationRequest request = Request(
      std::make_shared<PipelineReplicas>(PipelineReplicas{PixelPipeline(checkpoint->network)}), 6);
  request.conditioning.conditions = Classes({{0}});
  request.count = 3;
  Engine engine({.cpu_threads = 2, .training_share = 0.5}, Clock::Real(), nullptr);
  const auto alone = Submit(engine, request);
  ASSERT_EQ(alone->WaitUntilFinished(), absl::OkStatus());
  const auto task = std::make_shared<AutogradTask>();
  const Engine::TaskId id = engine.AddTask(task, 0);
  const int slices_before = task->slices;
  const auto beside = Submit(engine, request);
  ASSERT_EQ(beside->WaitUntilFinished(), absl::OkStatus());
  engine.RemoveTask(id);
  EXPECT_GT(task->slices, slices_before);
  ASSERT_EQ(beside->images().size(), 3u);
  for (const ImageUpdate& image : beside->images()) {
    const auto images = alone->images();
    const auto same = std::find_if(images.begin(), images.end(), [&](const ImageUpdate& other) {
      return other.image_index == image.image_index;
    });
    EXPECT_TRUE(image.sample.equal(same->sample)) << "image " << image.image_index;
  }
}

// For the thread sanitizer: everything at once.
TEST_F(EngineTasksTest, TasksComeAndGoWhileRequestsDo) {
  Engine engine({.devices = {at::kCPU, at::kCPU}, .training_share = 0.5}, Clock::Real(),
                &observer_);
  const auto network = Networks()->front();
  const auto networks = std::make_shared<PipelineReplicas>(PipelineReplicas{network, network});
  const auto come_and_go = [&] {
    for (int round = 0; round < 25; ++round) {
      std::atomic<int> slices = 0;
      const Engine::TaskId id =
          engine.AddTask(Task([&] { return ++slices % 3 == 0 ? Outcome::kIdle : Outcome::kMore; }),
                         engine.LeastLoadedDevice(), round % 2);
      for (int wake = 0; wake < 5; ++wake) engine.Wake(id);
      engine.RemoveTask(id);
    }
  };
  const auto generate = [&] {
    for (int round = 0; round < 5; ++round) {
      EXPECT_EQ(Submit(engine, Request(networks))->WaitUntilFinished(), absl::OkStatus());
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) threads.emplace_back(come_and_go);
  for (int i = 0; i < 2; ++i) threads.emplace_back(generate);
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace denoise
