// What every runtime with graphs keeps to: CUDA's on a machine with a GPU, and the one that tests
// use in its place.
#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/device/cuda_library.h"
#include "core/diffusion/denoising_loop.h"
#include "core/sampling/samplers/compile_plan.h"
#include "tests/core/device/capturing_runtime.h"

namespace denoise {
namespace {

struct Backend {
  const char* name;
  std::shared_ptr<DeviceRuntime> (*make)();  // null where the machine has no such device
  void (*wait)(DeviceRuntime&, const at::Tensor& result);  // the host waits for `result`
};

const Backend kFake = {
    .name = "Fake",
    .make = []() -> std::shared_ptr<DeviceRuntime> { return std::make_shared<CapturingRuntime>(); },
    .wait = [](DeviceRuntime& runtime, const at::Tensor&) { runtime.Mark()->Wait(); }};

const Backend kCuda = {
    .name = "Cuda",
    .make = []() -> std::shared_ptr<DeviceRuntime> {
      if (!LoadCuda().ok() || at::getNumGPUs() == 0) return nullptr;
      return MakeDeviceRuntime(at::Device(at::kCUDA, 0));
    },
    .wait = [](DeviceRuntime&, const at::Tensor& result) { result.sum().item<float>(); }};

// Nonlinear in x and t. Any device.
class ToyNetwork : public Network {
 public:
  explicit ToyNetwork(at::Device device) : device_(device) {}

  const NetworkSpec& spec() const override { return spec_; }
  at::Device device() const override { return device_; }
  at::ScalarType dtype() const override { return at::kFloat; }
  at::Tensor Forward(const NetworkInput& input) const override {
    return at::tanh(input.x * 0.7 + input.timesteps.view({-1, 1, 1, 1}) / 1000);
  }
  std::shared_ptr<const Network> To(at::Device device, at::ScalarType) const override {
    return std::make_shared<ToyNetwork>(device);
  }

 private:
  const at::Device device_;
  const NetworkSpec spec_ = {.sample = {3, 8, 8}, .out_channels = 3};
};

class GraphCaptureTest : public testing::TestWithParam<Backend> {
 protected:
  void SetUp() override {
    runtime_ = GetParam().make();
    if (runtime_ == nullptr) GTEST_SKIP() << "this machine has no such device";
    if (!runtime_->captures()) GTEST_SKIP() << "this build has no module for graphs";
    input_ = at::full({1024}, 1.0F, at::TensorOptions().device(runtime_->device()));
    result_ = at::zeros_like(input_);
  }

  // result = input * input + 1, by way of memory that the graph allocates.
  std::unique_ptr<DeviceGraph> CaptureSquare() {
    return runtime_->Capture([this] { result_.copy_(input_ * input_ + 1); });
  }

  void ExpectSquares(DeviceGraph& graph) {
    for (const float value : {3.0F, -2.0F}) {
      input_.fill_(value);
      result_.zero_();
      graph.Replay();
      EXPECT_TRUE(result_.eq(value * value + 1).all().item<bool>()) << value;
    }
  }

  // Fails after some of the work is captured.
  void FailToCapture() {
    int runs = 0;
    EXPECT_ANY_THROW(runtime_->Capture([&] {
      ++runs;
      result_.copy_(input_ * 5);
      GetParam().wait(*runtime_, result_);
      result_.copy_(input_ * 7);
    }));
    EXPECT_GT(runs, 1) << "the warm-ups may wait";
  }

  std::vector<Trajectory> MakeTrajectories(const Network& network) const {
    const auto plan = std::make_shared<const SamplerPlan>(
        *CompilePlan(*Schedule::Create({}), {.sampler = SamplerKind::kDdpm, .steps = 12}));
    std::vector<Trajectory> trajectories;
    for (uint64_t seed = 0; seed < 3; ++seed) {
      trajectories.emplace_back(plan, Conditioning{}, seed, network.spec().sample, *runtime_);
    }
    return trajectories;
  }

  static void Evaluate(DenoisingLoop& loop, std::vector<Trajectory>& trajectories) {
    std::vector<Trajectory*> batch;
    for (Trajectory& trajectory : trajectories) batch.push_back(&trajectory);
    loop.Evaluate(batch);
  }

  std::shared_ptr<DeviceRuntime> runtime_;
  at::Tensor input_, result_;
};

TEST_P(GraphCaptureTest, AReplayReadsWhatTheInputHoldsByThen) {
  const auto graph = CaptureSquare();
  ExpectSquares(*graph);
}

TEST_P(GraphCaptureTest, CapturesAgainOnceAllGraphsAreGone) {
  for (int round = 0; round < 3; ++round) {
    auto first = CaptureSquare(), second = CaptureSquare();
    ExpectSquares(*first);
    ExpectSquares(*second);
    first.reset();
    ExpectSquares(*second);
    second.reset();
  }
}

TEST_P(GraphCaptureTest, CapturesAgainAfterACaptureThatFailed) {
  FailToCapture();
  FailToCapture();
  const at::Tensor elsewhere = input_ * 2;  // allocated after the failures
  auto graph = CaptureSquare();
  ExpectSquares(*graph);
  EXPECT_TRUE(elsewhere.eq(2).all().item<bool>());
  graph.reset();
  ExpectSquares(*CaptureSquare());
}

TEST_P(GraphCaptureTest, ACaptureThatFailsLeavesOtherGraphsAsTheyWere) {
  auto graph = CaptureSquare();
  FailToCapture();
  ExpectSquares(*graph);
  graph.reset();
  ExpectSquares(*CaptureSquare());
}

// Work that fails on the host leaves a capture that CUDA has nothing against.
TEST_P(GraphCaptureTest, CapturesAgainAfterWorkThatThrew) {
  int runs = 0;
  EXPECT_ANY_THROW(runtime_->Capture([&] {
    result_.copy_(input_ * 5);
    if (++runs == 3) throw std::runtime_error("no such class");
  }));
  ExpectSquares(*CaptureSquare());
}

TEST_P(GraphCaptureTest, ImagesAfterAFailureAreThoseMadeWithoutGraphs) {
  const c10::InferenceMode inference;
  const ToyNetwork network(runtime_->device());
  std::vector<Trajectory> eager = MakeTrajectories(network);
  while (!eager.front().done()) {
    DenoisingLoop once(network, runtime_);  // too short-lived for a graph
    Evaluate(once, eager);
  }
  for (int round = 0; round < 2; ++round) {
    FailToCapture();
    DenoisingLoop loop(network, runtime_);
    std::vector<Trajectory> graphed = MakeTrajectories(network);
    while (!graphed.front().done()) Evaluate(loop, graphed);
    for (size_t i = 0; i < eager.size(); ++i) {
      EXPECT_TRUE(graphed[i].x().allclose(eager[i].x(), 1e-4, 1e-4)) << "image " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Runtimes, GraphCaptureTest, testing::Values(kFake, kCuda),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace denoise
