// Devices that fail for good: what they were doing is done on others, or ends with a hint to retry.
#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/base/error_details.h"
#include "core/base/mutex.h"
#include "core/base/retry.h"
#include "core/pipeline/prompt.h"
#include "core/sampling/samplers/compile_plan.h"
#include "server/engine/engine.h"
#include "tests/core/device/failing_runtime.h"
#include "tests/server/engine/latent_parts.h"
#include "tests/server/engine/recording_sink.h"
#include "tests/server/engine/silent_observer.h"
#include "tests/support/gaussian_network.h"

namespace denoise {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

using Outcome = DeviceTask::Outcome;

constexpr int kImages = 4;
constexpr int kSteps = 6;

// Remembers which steps it heard of, and accepts a handover if it is told to.
class StepSink : public RecordingSink {
 public:
  explicit StepSink(bool accepts_handover = false) : accepts_handover_(accepts_handover) {}

  void OnStep(int image, int step) override {
    {
      const MutexLock lock(mutex_);
      steps_[image].push_back(step);
    }
    RecordingSink::OnStep(image, step);
  }
  bool AcceptsHandover() override { return accepts_handover_; }
  void OnHandover(std::vector<ImageSnapshot> begun) override {
    handovers.push_back(std::move(begun));
  }

  std::map<int, std::vector<int>> StepsByImage() const {
    const MutexLock lock(mutex_);
    return steps_;
  }

  std::vector<std::vector<ImageSnapshot>> handovers;  // read once it is finished

 private:
  const bool accepts_handover_;
  mutable Mutex mutex_;
  std::map<int, std::vector<int>> steps_ ABSL_GUARDED_BY(mutex_);
};

// Failures of devices that an engine has reported.
class Failures {
 public:
  void Add(const std::string& device, const std::string& what) {
    const MutexLock lock(mutex_);
    failures_.push_back(device + ": " + what);
    changed_.NotifyAll();
  }
  std::vector<std::string> WaitFor(size_t count) {
    const absl::Time deadline = Clock::Real().Now() + absl::Minutes(1);
    const MutexLock lock(mutex_);
    while (failures_.size() < count && !changed_.WaitUntil(mutex_, deadline)) {
    }
    return failures_;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::vector<std::string> failures_ ABSL_GUARDED_BY(mutex_);
};

// Counts the times that a device was said to have failed.
class TurnObserver : public SilentObserver {
 public:
  void OnTurn(const std::string&, const TurnReport& turn) override {
    failed_turns += turn.kind == TurnReport::Kind::kFailed ? 1 : 0;
  }
  std::atomic<int> failed_turns = 0;
};

// What happens in a call of a part of a model.
using Hook = std::function<void()>;
enum class Part { kPrompts, kPictures, kNetwork, kDecoder };

class EngineDeviceFailureTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { FailingRuntime::Register(); }
  void TearDown() override { FailingRuntime::all_fail = false; }

  Engine::Options Options(int devices) {
    return {.devices = std::vector<at::Device>(devices, at::kCPU),
            .max_batch_rows = 4,
            .batch_efficiency = 1,
            .on_device_failed = [this](const auto& device, const auto& what) {
              failures_.Add(device, what);
            }};
  }

  // One replica for each hook, which is called whenever `part` of it is used.
  static std::shared_ptr<const PipelineReplicas> Replicas(Part part, std::vector<Hook> hooks) {
    auto replicas = std::make_shared<PipelineReplicas>();
    for (const Hook& hook : hooks) {
      const auto hook_of = [&](Part of) { return hook && of == part ? hook : [] {}; };
      auto network = std::make_shared<GaussianNetwork>(
          *Schedule::Create({}), GaussianData{}, 3, 6, 6,
          [called = hook_of(Part::kNetwork)](const NetworkInput&) { called(); });
      auto codec = std::make_shared<DoublingCodec>();
      codec->on_call = hook_of(part == Part::kPictures ? Part::kPictures : Part::kDecoder);
      auto prompts = std::make_shared<CountingPrompts>();
      prompts->on_call = hook_of(Part::kPrompts);
      replicas->push_back(std::make_shared<const Pipeline>(
          Pipeline{std::move(network), std::move(codec), std::move(prompts)}));
    }
    return replicas;
  }

  // Draws noise in every step, and wants to see every step twice.
  static GenerationRequest Request(std::shared_ptr<const PipelineReplicas> pipelines) {
    GenerationRequest request;
    request.shape = pipelines->front()->network->spec().sample;
    request.pipelines = std::move(pipelines);
    request.plan = std::make_shared<const SamplerPlan>(
        *CompilePlan(*Schedule::Create({}), {.sampler = SamplerKind::kDdpm, .steps = kSteps}));
    request.seed = 5;
    request.count = kImages;
    request.frames = {.every_n_steps = 1, .kinds = {FrameKind::kXt, FrameKind::kX0}};
    return request;
  }

  static std::shared_ptr<StepSink> Submit(Engine& engine, GenerationRequest request,
                                          bool accepts_handover = false) {
    auto sink = std::make_shared<StepSink>(accepts_handover);
    const auto id = engine.Submit(std::move(request), sink);
    EXPECT_TRUE(id.ok()) << id.status();
    return sink;
  }

  using FrameId = std::tuple<int, int, FrameKind>;
  static std::map<FrameId, at::Tensor> FramesOf(const StepSink& sink) {
    std::map<FrameId, at::Tensor> frames;
    for (const FrameUpdate& frame : sink.frames()) {
      const FrameId id{frame.image_index, frame.step, frame.kind};
      EXPECT_TRUE(frames.emplace(id, frame.sample).second) << "a frame came twice";
    }
    return frames;
  }

  static std::map<int, at::Tensor> ImagesOf(const StepSink& sink) {
    std::map<int, at::Tensor> images;
    for (const ImageUpdate& image : sink.images()) {
      EXPECT_TRUE(images.emplace(image.image_index, image.sample).second);
    }
    return images;
  }

  template <class Key>
  static void ExpectSame(const std::map<Key, at::Tensor>& actual,
                         const std::map<Key, at::Tensor>& expected) {
    ASSERT_EQ(actual.size(), expected.size());
    for (const auto& [key, tensor] : expected) {
      ASSERT_TRUE(actual.contains(key));
      EXPECT_TRUE(actual.at(key).equal(tensor));
    }
  }

  Failures failures_;
};

[[noreturn]] void Throw() { throw std::runtime_error("an error of the device"); }

struct Case {
  const char* name;
  Part part;
  int call;     // of the device's calls of that part, the one during which it fails
  bool throws;  // or the device's next call does
};

class EngineDeviceFailureCases : public EngineDeviceFailureTest,
                                 public testing::WithParamInterface<Case> {
 protected:
  static GenerationRequest RequestFor(Part part, std::shared_ptr<const PipelineReplicas> replicas) {
    GenerationRequest request = Request(std::move(replicas));
    if (part == Part::kPrompts) {
      request.conditioning.conditions = {{std::make_shared<const Condition>(
          Condition{.prompt = std::make_shared<const Prompt>()})}};
    } else if (part == Part::kPictures) {
      request.start = PictureStart{at::full({3, 12, 12}, 0.5)};
      request.decode = false;
    }
    return request;
  }
};

TEST_P(EngineDeviceFailureCases, AnotherDeviceMakesTheImagesWithTheSameBytes) {
  const Case& c = GetParam();
  const auto expected = std::make_shared<StepSink>();
  {
    Engine undisturbed(Options(1), Clock::Real(), nullptr);
    ASSERT_TRUE(undisturbed.Submit(RequestFor(c.part, Replicas(c.part, {nullptr})), expected).ok());
    ASSERT_EQ(expected->WaitUntilFinished(), absl::OkStatus());
  }
  std::atomic<int> calls = 0;
  const Hook fails = [&] {
    if (++calls != c.call) return;
    FailingRuntime::FailDevice();
    if (c.throws) Throw();
  };
  TurnObserver observer;
  std::shared_ptr<StepSink> sink;
  {
    Engine engine(Options(2), Clock::Real(), &observer);
    sink = Submit(engine, RequestFor(c.part, Replicas(c.part, {fails, nullptr})));
    ASSERT_EQ(sink->WaitUntilFinished(), absl::OkStatus());
    EXPECT_EQ(engine.WorkingDevices(), 1);
  }
  EXPECT_THAT(failures_.WaitFor(1), SizeIs(1));
  EXPECT_EQ(calls, c.call) << "the device was used after it had failed";
  EXPECT_GE(observer.failed_turns, 1);
  EXPECT_EQ(sink->finishes(), 1);
  ExpectSame(ImagesOf(*sink), ImagesOf(*expected));
  ExpectSame(FramesOf(*sink), FramesOf(*expected));
  EXPECT_EQ(sink->StepsByImage(), expected->StepsByImage());
}

INSTANTIATE_TEST_SUITE_P(All, EngineDeviceFailureCases,
                         testing::Values(Case{"FirstEvaluation", Part::kNetwork, 1, true},
                                         Case{"LaterEvaluation", Part::kNetwork, 3, true},
                                         Case{"LastEvaluation", Part::kNetwork, kSteps, true},
                                         Case{"AfterAnEvaluation", Part::kNetwork, 3, false},
                                         Case{"AfterTheLastEvaluation", Part::kNetwork, kSteps,
                                              false},
                                         Case{"Prompts", Part::kPrompts, 1, true},
                                         Case{"AfterPrompts", Part::kPrompts, 1, false},
                                         Case{"Pictures", Part::kPictures, 1, true},
                                         Case{"AfterPictures", Part::kPictures, 1, false},
                                         Case{"Decoding", Part::kDecoder, 2, true},
                                         Case{"AfterDecoding", Part::kDecoder, 1, false}),
                         [](const auto& of) { return std::string(of.param.name); });

TEST_F(EngineDeviceFailureTest, ARequestThatFailsOnADeviceThatWorksFailsAlone) {
  Engine engine(Options(2), Clock::Real(), nullptr);
  const auto bad = Submit(engine, Request(Replicas(Part::kNetwork, {&Throw, &Throw})));
  EXPECT_TRUE(absl::IsInternal(bad->WaitUntilFinished()));
  const auto good = Submit(engine, Request(Replicas(Part::kNetwork, {nullptr, nullptr})));
  EXPECT_EQ(good->WaitUntilFinished(), absl::OkStatus());
  EXPECT_EQ(engine.WorkingDevices(), 2);
  EXPECT_THAT(failures_.WaitFor(0), IsEmpty());
}

TEST_F(EngineDeviceFailureTest, WithoutADeviceRequestsEndWithAHintToRetry) {
  const auto pipelines = Replicas(Part::kNetwork, {[] {
                                    FailingRuntime::FailDevice();
                                    Throw();
                                  }});
  Engine engine(Options(1), Clock::Real(), nullptr);
  const auto running = Submit(engine, Request(pipelines));
  const absl::Status status = running->WaitUntilFinished();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_EQ(GetErrorReason(status), kDeviceFailedReason);
  EXPECT_TRUE(GetRetryDelay(status).has_value());
  EXPECT_THAT(failures_.WaitFor(1), ElementsAre("cpu: an error of the device"));
  EXPECT_EQ(engine.WorkingDevices(), 0);

  const absl::Status refused =
      engine.Submit(Request(pipelines), std::make_shared<StepSink>()).status();
  EXPECT_EQ(refused, status);
}

// What is done stays done; what is on the device is lost, and another server begins it again.
TEST_F(EngineDeviceFailureTest, WithoutADeviceGenerationsAreHandedOver) {
  std::atomic<int> decoded = 0;
  const auto pipelines = Replicas(Part::kDecoder, {[&] {
                                    if (++decoded < 3) return;
                                    FailingRuntime::FailDevice();
                                    Throw();
                                  }});
  Engine engine(Options(1), Clock::Real(), nullptr);
  const auto sink = Submit(engine, Request(pipelines), /*accepts_handover=*/true);
  EXPECT_EQ(sink->WaitUntilFinished(), DeviceFailedError());
  EXPECT_THAT(sink->images(), SizeIs(2));
  EXPECT_THAT(sink->handovers, ElementsAre(IsEmpty()));
}

class Task : public DeviceTask {
 public:
  explicit Task(std::function<Outcome()> slice) : slice_(std::move(slice)) {}
  Outcome RunSlice() override { return slice_(); }
  void OnFailed(const absl::Status& status) override { failed_.set_value(status); }
  absl::Status WaitUntilFailed() { return failed_.get_future().get(); }

 private:
  const std::function<Outcome()> slice_;
  std::promise<absl::Status> failed_;
};

TEST_F(EngineDeviceFailureTest, TasksOfTheDeviceHearOfIt) {
  for (const bool throws : {true, false}) {
    Engine engine(Options(2), Clock::Real(), nullptr);
    std::promise<void> is_idle;
    const auto idle = std::make_shared<Task>([&] {
      is_idle.set_value();
      return Outcome::kIdle;
    });
    engine.AddTask(idle, 0);
    is_idle.get_future().get();
    const auto running = std::make_shared<Task>([&] {
      FailingRuntime::FailDevice();
      if (throws) Throw();
      return Outcome::kDone;
    });
    engine.AddTask(running, 0);
    EXPECT_EQ(running->WaitUntilFailed(), DeviceFailedError());
    EXPECT_EQ(idle->WaitUntilFailed(), DeviceFailedError());
    EXPECT_EQ(engine.LeastLoadedDevice(), 1);
    const auto late = std::make_shared<Task>([] {
      ADD_FAILURE() << "a slice ran on a device that has failed";
      return Outcome::kDone;
    });
    engine.AddTask(late, 0);
    EXPECT_EQ(late->WaitUntilFailed(), DeviceFailedError());
  }
}

TEST_F(EngineDeviceFailureTest, ACheckFindsDevicesThatHaveFailedWhileTheyWereIdle) {
  Engine engine(Options(2), Clock::Real(), nullptr);
  EXPECT_EQ(
      Submit(engine, Request(Replicas(Part::kNetwork, {nullptr, nullptr})))->WaitUntilFinished(),
      absl::OkStatus());
  engine.CheckDevices();
  EXPECT_EQ(
      Submit(engine, Request(Replicas(Part::kNetwork, {nullptr, nullptr})))->WaitUntilFinished(),
      absl::OkStatus());
  EXPECT_EQ(engine.WorkingDevices(), 2);

  FailingRuntime::all_fail = true;
  engine.CheckDevices();

  EXPECT_THAT(failures_.WaitFor(2),
              ElementsAre("cpu: CUDA error: an illegal memory access was encountered",
                          "cpu: CUDA error: an illegal memory access was encountered"));
}

}  // namespace
}  // namespace denoise
