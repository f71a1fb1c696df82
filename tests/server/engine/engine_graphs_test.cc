// The engine on a device with graphs and memory of its own, which a test can make run out.
#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "core/sampling/samplers/compile_plan.h"
#include "server/engine/engine.h"
#include "tests/core/device/capturing_runtime.h"
#include "tests/server/engine/gate.h"
#include "tests/server/engine/recording_sink.h"
#include "tests/server/engine/silent_observer.h"
#include "tests/support/gaussian_network.h"

namespace denoise {
namespace {

using Outcome = DeviceTask::Outcome;

std::atomic<int> g_graphs = 0;  // alive, of all runtimes
std::atomic<bool> g_capture_fails = false;

// CapturingRuntime, as other threads see it.
class ObservedRuntime : public CapturingRuntime {
 public:
  ObservedRuntime() {
    on_capture = [] {
      if (g_capture_fails) throw std::bad_alloc();
    };
  }
  std::unique_ptr<DeviceGraph> Capture(const std::function<void()>& work) override {
    return std::make_unique<Counted>(CapturingRuntime::Capture(work));
  }

 private:
  class Counted : public DeviceGraph {
   public:
    explicit Counted(std::unique_ptr<DeviceGraph> graph) : graph_(std::move(graph)) { ++g_graphs; }
    ~Counted() override { --g_graphs; }
    void Replay() override { graph_->Replay(); }

   private:
    const std::unique_ptr<DeviceGraph> graph_;
  };
};

class FailureObserver : public SilentObserver {
 public:
  void OnBatchFailed(const std::string&, const std::string&) override { ++failed_batches; }
  void OnCaptureFailed(const std::string& device, const std::string& what) override {
    failed_captures.push_back(device + ": " + what);
  }

  std::atomic<int> failed_batches = 0;
  std::vector<std::string> failed_captures;  // the worker's, until the engine is gone
};

class SliceOnce : public DeviceTask {
 public:
  explicit SliceOnce(std::function<void()> slice) : slice_(std::move(slice)) {}
  Outcome RunSlice() override {
    slice_();
    return Outcome::kDone;
  }
  void OnFailed(const absl::Status& status) override { ADD_FAILURE() << status; }

 private:
  const std::function<void()> slice_;
};

class EngineGraphsTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    TestAllocator::Get();
    RegisterDeviceRuntime(at::kCPU, [](at::Device) -> std::shared_ptr<DeviceRuntime> {
      return std::make_shared<ObservedRuntime>();
    });
  }
  void TearDown() override {
    TestAllocator::Get().failing_size = 0;
    g_capture_fails = false;
  }

  static std::shared_ptr<const PipelineReplicas> Networks(GaussianNetwork::Hook hook = nullptr) {
    return std::make_shared<PipelineReplicas>(
        PipelineReplicas{PixelPipeline(std::make_shared<GaussianNetwork>(
            *Schedule::Create({}), GaussianData(), 3, 6, 6, std::move(hook)))});
  }

  static GenerationRequest Request(std::shared_ptr<const PipelineReplicas> networks, int steps) {
    GenerationRequest request;
    request.shape = networks->front()->network->spec().sample;
    request.pipelines = std::move(networks);
    request.plan = std::make_shared<const SamplerPlan>(
        *CompilePlan(*Schedule::Create({}), {.sampler = SamplerKind::kDdim, .steps = steps}));
    return request;
  }

  static std::shared_ptr<RecordingSink> Submit(Engine& engine, GenerationRequest request,
                                               Engine::Id* id = nullptr) {
    auto sink = std::make_shared<RecordingSink>();
    const auto submitted = engine.Submit(std::move(request), sink);
    EXPECT_TRUE(submitted.ok()) << submitted.status();
    if (id != nullptr) *id = submitted.value_or(0);
    return sink;
  }

  // Whether all graphs go within a minute.
  static bool GraphsGo() {
    for (int i = 0; i < 6000 && g_graphs > 0; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return g_graphs == 0;
  }

  FailureObserver observer_;
};

TEST_F(EngineGraphsTest, ASliceFindsNoGraphsOfAModelThatIsGone) {
  std::promise<int> graphs;
  auto networks = Networks();
  Engine engine({}, Clock::Real(), nullptr);
  ASSERT_EQ(Submit(engine, Request(networks, 10))->WaitUntilFinished(), absl::OkStatus());
  EXPECT_EQ(g_graphs, 1);
  networks.reset();
  engine.AddTask(std::make_shared<SliceOnce>([&] { graphs.set_value(g_graphs); }), 0);
  EXPECT_EQ(graphs.get_future().get(), 0);
}

TEST_F(EngineGraphsTest, AModelThatGoesWithItsLastRequestLeavesNoGraphs) {
  Gate gate;
  std::atomic<int> calls = 0;
  auto networks = Networks([&](const NetworkInput&) {
    if (++calls > 20) gate.Pass();
  });
  Engine engine({}, Clock::Real(), nullptr);
  Engine::Id id = 0;
  const auto sink = Submit(engine, Request(std::move(networks), 500), &id);
  gate.WaitUntilReached();
  EXPECT_EQ(g_graphs, 1);
  engine.Cancel(id);
  gate.Open();
  EXPECT_EQ(sink->WaitUntilFinished().code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(GraphsGo());
}

TEST_F(EngineGraphsTest, AFailedCaptureIsReportedOnceAndTheImagesAreMade) {
  g_capture_fails = true;
  {
    Engine engine({}, Clock::Real(), &observer_);
    EXPECT_EQ(Submit(engine, Request(Networks(), 20))->WaitUntilFinished(), absl::OkStatus());
  }
  EXPECT_THAT(observer_.failed_captures, testing::ElementsAre("cpu: std::bad_alloc"));
  EXPECT_EQ(observer_.failed_batches, 0);
}

// What two predictions take together is the one allocation that fails.
TEST_F(EngineGraphsTest, ImagesEvaluatedOneByOneNeedNoMemoryTogether) {
  constexpr size_t kTwoPictures = 2 * 3 * 6 * 6 * sizeof(float);
  Gate gate;
  std::atomic<bool> failed = false;
  const auto networks = Networks([&](const NetworkInput& input) {
    gate.Pass();
    if (input.x.size(0) == 1 || failed.exchange(true)) return;
    TestAllocator::Get().failing_size = kTwoPictures;
    throw std::runtime_error("out of memory");
  });
  Engine engine({}, Clock::Real(), &observer_);
  const auto blocker = Submit(engine, Request(networks, 1));
  gate.WaitUntilReached();
  const auto first = Submit(engine, Request(networks, 2));
  const auto second = Submit(engine, Request(networks, 3));
  gate.Open();
  for (const auto& sink : {blocker, first, second}) {
    EXPECT_EQ(sink->WaitUntilFinished(), absl::OkStatus());
  }
  EXPECT_GE(observer_.failed_batches, 1);
}

}  // namespace
}  // namespace denoise
