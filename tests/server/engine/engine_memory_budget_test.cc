// Evaluations that cannot fit into the memory of their device are refused before they are tried.
#include <ATen/ops/empty.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>

#include "core/base/error_details.h"
#include "core/device/host_allocations.h"
#include "core/sampling/samplers/compile_plan.h"
#include "server/engine/engine.h"
#include "server/engine/measurement_task.h"
#include "server/engine/memory_budget.h"
#include "server/engine/memory_errors.h"
#include "tests/core/device/failing_runtime.h"
#include "tests/server/engine/recording_sink.h"
#include "tests/support/fake_clock.h"
#include "tests/support/gaussian_network.h"

namespace denoise {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Pair;
using testing::UnorderedElementsAre;

constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kBytesPerPixel = kMiB;  // of a row, that the network takes

// The CPU with as much memory as a test says.
class SmallRuntime : public FailingRuntime {
 public:
  inline static std::atomic<int64_t> free_bytes = 0;
  inline static std::atomic<int64_t> total_bytes = 0;

  static void Register() {
    RegisterDeviceRuntime(at::kCPU, [](at::Device) -> std::shared_ptr<DeviceRuntime> {
      return std::make_shared<SmallRuntime>();
    });
  }
  std::optional<DeviceMemory> Memory() const override {
    return DeviceMemory{.free_bytes = free_bytes, .total_bytes = total_bytes};
  }
  std::optional<int64_t> PeakMemory(const std::function<void()>& work) override {
    return PeakHostMemory(work);
  }
};

class EngineMemoryBudgetTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { SmallRuntime::Register(); }
  void SetUp() override { SetMemory(1000 * kMiB, 1000 * kMiB); }

  static void SetMemory(int64_t free_bytes, int64_t total_bytes) {
    SmallRuntime::free_bytes = free_bytes;
    SmallRuntime::total_bytes = total_bytes;
  }

  GenerationRequest Request(int64_t side, int count = 1) const {
    GenerationRequest request;
    request.pipelines = pipelines_;
    request.model = "models/small";
    request.shape = {3, side, side};
    request.plan = std::make_shared<const SamplerPlan>(
        *CompilePlan(*Schedule::Create({}), {.sampler = SamplerKind::kDdim, .steps = 2}));
    request.count = count;
    return request;
  }

  absl::Status Generate(Engine& engine, const GenerationRequest& request) const {
    auto sink = std::make_shared<RecordingSink>();
    const auto id = engine.Submit(request, sink);
    return id.ok() ? sink->WaitUntilFinished() : id.status();
  }

  // The most row pixels of one network call so far.
  std::atomic<int64_t> largest_ = 0;
  const std::shared_ptr<const PipelineReplicas> pipelines_ =
      std::make_shared<const PipelineReplicas>(
          PipelineReplicas{PixelPipeline(std::make_shared<GaussianNetwork>(
              *Schedule::Create({}), GaussianData{}, 3, 8, 8, [this](const NetworkInput& input) {
                const int64_t pixels = input.x.size(0) * input.x.size(2) * input.x.size(3);
                largest_ = std::max<int64_t>(largest_, pixels);
                at::empty({pixels * kBytesPerPixel}, at::kByte);
              }))});
};

TEST_F(EngineMemoryBudgetTest, AnImageThatNoDeviceCanHoldIsRefusedAtOnce) {
  Engine engine({}, Clock::Real(), nullptr);
  ASSERT_TRUE(Generate(engine, Request(8)).ok());

  auto sink = std::make_shared<RecordingSink>();
  const absl::Status refused = engine.Submit(Request(64), sink).status();

  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(GetErrorReason(refused), kOutOfMemory);
  EXPECT_THAT(
      std::string(refused.message()),
      AllOf(HasSubstr("an image of 64 x 64 pixels takes 1 row of a network call and about "),
            HasSubstr(" GiB of memory, and the device has 0.977 GiB in all"),
            HasSubstr("ask for a smaller one, of at most 31 x 31 pixels")));
  EXPECT_THAT(GetErrorMetadata(refused),
              UnorderedElementsAre(Pair("fitting_height", "31"), Pair("fitting_width", "31")));
  EXPECT_EQ(largest_, 8 * 8) << "it was not tried";
}

TEST_F(EngineMemoryBudgetTest, ABatchIsNoLargerThanWhatIsFree) {
  Engine engine({.batch_efficiency = 1}, Clock::Real(), nullptr);
  ASSERT_TRUE(Generate(engine, Request(8)).ok());
  SetMemory(/*free_bytes=*/200 * kMiB, /*total_bytes=*/1000 * kMiB);
  EXPECT_TRUE(Generate(engine, Request(8, /*count=*/16)).ok());
  EXPECT_LE(largest_, 200);
  EXPECT_GT(largest_, 100) << "memory for more than one image is used";
}

TEST_F(EngineMemoryBudgetTest, AnImageThatDoesNotFitNowEndsAlone) {
  Engine engine({}, Clock::Real(), nullptr);
  ASSERT_TRUE(Generate(engine, Request(8)).ok());
  SetMemory(/*free_bytes=*/100 * kMiB, /*total_bytes=*/1000 * kMiB);
  const absl::Status ended = Generate(engine, Request(16));
  EXPECT_EQ(ended.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(GetErrorReason(ended), kOutOfMemory);
  EXPECT_EQ(largest_, 8 * 8);
  EXPECT_TRUE(Generate(engine, Request(8)).ok()) << "the worker lives";
  SetMemory(/*free_bytes=*/1000 * kMiB, /*total_bytes=*/1000 * kMiB);
  EXPECT_TRUE(Generate(engine, Request(16)).ok()) << "there is memory again";
}

// What others took meanwhile counts, too.
TEST_F(EngineMemoryBudgetTest, WhatHasFitBeforeMayNotFitNow) {
  Engine engine({}, Clock::Real(), nullptr);
  ASSERT_TRUE(Generate(engine, Request(16)).ok());
  largest_ = 0;
  SetMemory(/*free_bytes=*/100 * kMiB, /*total_bytes=*/1000 * kMiB);
  EXPECT_EQ(GetErrorReason(Generate(engine, Request(16))), kOutOfMemory);
  EXPECT_EQ(largest_, 0);
}

TEST_F(EngineMemoryBudgetTest, AModelIsMeasuredWithinTheMemoryThatIsFree) {
  SetMemory(/*free_bytes=*/200 * kMiB, /*total_bytes=*/1000 * kMiB);
  FakeClock clock;
  MemoryBudget memory;
  MeasurementTask task(pipelines_, 0, {.max_rows = 16}, &clock, &memory,
                       [&](int, absl::Duration) {});
  while (task.RunSlice() == DeviceTask::Outcome::kMore) clock.Advance(absl::Milliseconds(1));
  EXPECT_EQ(largest_, 2 * 8 * 8);
  EXPECT_NEAR(static_cast<double>(*memory.BytesFor(pipelines_, 64, 1)), 64 * kBytesPerPixel, kMiB);
}

TEST(MemoryBudget, KnowsWhatWasMeasuredOfTheNearestSize) {
  MemoryBudget memory;
  const auto pipelines = std::make_shared<const PipelineReplicas>();
  EXPECT_EQ(memory.BytesFor(pipelines, 100, 1), std::nullopt);
  memory.Record(pipelines, 100, 1, 5000);
  memory.Record(pipelines, 100, 4, 16000);
  memory.Record(pipelines, 100, 2, 9000);
  EXPECT_EQ(memory.BytesFor(pipelines, 100, 8), 32000) << "of the most rows";
  memory.Record(pipelines, 100, 4, 12000);
  memory.Record(pipelines, 100, 4, 90000);
  EXPECT_EQ(memory.BytesFor(pipelines, 100, 1), 3000) << "the least of several measurements";
  memory.Record(pipelines, 400, 1, 70000);
  EXPECT_EQ(memory.BytesFor(pipelines, 200, 1), 6000);
  EXPECT_EQ(memory.BytesFor(pipelines, 800, 1), 140000);
  EXPECT_EQ(memory.BytesFor(pipelines, 50, 1), 1500);
  EXPECT_EQ(memory.BytesFor(std::make_shared<const PipelineReplicas>(), 100, 1), std::nullopt);
}

TEST(ImageTooLarge, NamesNoSizeWhereNoneFits) {
  const absl::Status status = ImageTooLarge({.height = 64,
                                             .width = 64,
                                             .size_multiple = 64,
                                             .rows = 2,
                                             .bytes = int64_t{3} << 30,
                                             .device_bytes = int64_t{2} << 30});
  EXPECT_EQ(status.message(),
            "an image of 64 x 64 pixels takes 2 rows of a network call and about 3 GiB of memory, "
            "and the device has 2 GiB in all: ask for a smaller one, or for one without guidance");
  EXPECT_TRUE(GetErrorMetadata(status).empty());
}

}  // namespace
}  // namespace denoise
