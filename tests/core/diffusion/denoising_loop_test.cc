#include "core/diffusion/denoising_loop.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/sampling/samplers/compile_plan.h"
#include "tests/core/device/capturing_runtime.h"
#include "tests/core/device/cpu_runtime.h"
#include "tests/support/class_conditions.h"
#include "tests/support/gaussian_network.h"

namespace denoise {
namespace {

using Plan = std::shared_ptr<const SamplerPlan>;

Plan Compile(const SamplerOptions& options) {
  return std::make_shared<const SamplerPlan>(*CompilePlan(*Schedule::Create({}), options));
}

class DenoisingLoopTest : public testing::Test {
 protected:
  Trajectory Make(const Plan& plan, uint64_t seed, Conditioning conditioning = {},
                  std::optional<Inpainting> inpainting = std::nullopt) {
    if (conditioning.conditions.front().condition == NoCondition())
      conditioning.conditions = Classes({{0}});
    conditioning.unconditional = ClassCondition(2);
    return Trajectory(plan, std::move(conditioning), seed, network_.spec().sample, *runtime_,
                      NoiseStart(), std::move(inpainting));
  }

  // Evaluates those that are not done, together.
  static void Evaluate(DenoisingLoop& loop, std::vector<Trajectory>& trajectories) {
    std::vector<Trajectory*> running;
    for (Trajectory& trajectory : trajectories) {
      if (!trajectory.done()) running.push_back(&trajectory);
    }
    loop.Evaluate(running);
  }

  static void Run(DenoisingLoop& loop, std::vector<Trajectory>& trajectories) {
    const auto longest = std::max_element(
        trajectories.begin(), trajectories.end(), [](const Trajectory& a, const Trajectory& b) {
          return a.plan().evaluations.size() < b.plan().evaluations.size();
        });
    while (!longest->done()) Evaluate(loop, trajectories);
  }

  const c10::InferenceMode inference_;
  const GaussianNetwork network_{
      *Schedule::Create({}), {.means = {-0.5, 0.5, 0}, .deviation = 0.3}, 3, 5, 7};
  const std::shared_ptr<CapturingRuntime> runtime_ = std::make_shared<CapturingRuntime>();
};

TEST_F(DenoisingLoopTest, ReplayedEvaluationsMakeTheSameImages) {
  const std::vector<Plan> plans = {
      Compile({.sampler = SamplerKind::kDdpm, .steps = 20, .clip_sample = true}),
      Compile({.sampler = SamplerKind::kUniPc, .steps = 12, .solver_order = 3}),
      Compile({.sampler = SamplerKind::kPndm, .steps = 15}),
      Compile({.sampler = SamplerKind::kEulerAncestral, .steps = 18}),
      Compile({.sampler = SamplerKind::kDdim, .steps = 17}),
  };
  std::vector<Trajectory> graphed, plain;
  for (int i = 0; i < 11; ++i) {
    Conditioning conditioning;
    if (i % 3 == 1) conditioning.conditions = Classes({{0, 0.25}, {1, 0.75}});
    if (i % 2 == 1) conditioning.guidance = {.scale = 3, .timesteps = {.max = 700}};
    for (auto* trajectories : {&graphed, &plain}) {
      trajectories->push_back(Make(plans[i % plans.size()], 50 + i, conditioning));
    }
  }
  DenoisingLoop with_graphs(network_, runtime_), without(network_, CpuRuntime());
  while (true) {
    std::vector<Trajectory*> a, b;
    for (size_t i = 0; i < plain.size(); ++i) {
      if (plain[i].done()) continue;
      a.push_back(&graphed[i]);
      b.push_back(&plain[i]);
    }
    if (a.empty()) break;
    const at::Tensor x0 = with_graphs.Evaluate(a).x0, plain_x0 = without.Evaluate(b).x0;
    ASSERT_TRUE(x0.allclose(plain_x0, 1e-4, 1e-4));
  }
  EXPECT_GT(runtime_->replayed, 5);
  for (size_t i = 0; i < plain.size(); ++i) {
    ASSERT_TRUE(graphed[i].done());
    EXPECT_TRUE(graphed[i].x().allclose(plain[i].x(), 1e-4, 1e-4)) << "image " << i;
  }
}

TEST_F(DenoisingLoopTest, AShapeIsCapturedOnceWhenItComesForTheThirdTime) {
  DenoisingLoop loop(network_, runtime_);
  const Plan plan = Compile({.sampler = SamplerKind::kDdim, .steps = 10});
  std::vector<Trajectory> one, two;
  one.push_back(Make(plan, 1));
  for (int i = 0; i < 2; ++i) two.push_back(Make(plan, i));
  Evaluate(loop, one);
  Evaluate(loop, one);
  Evaluate(loop, two);
  EXPECT_EQ(runtime_->captured, 0);
  Evaluate(loop, one);
  EXPECT_EQ(runtime_->captured, 1);
  EXPECT_EQ(runtime_->replayed, 1);
  Evaluate(loop, one);
  EXPECT_EQ(runtime_->captured, 1);
  EXPECT_EQ(runtime_->replayed, 2);
}

TEST_F(DenoisingLoopTest, CountsTheRowsThatPadABatchUpToItsGraph) {
  DenoisingLoop loop(network_, runtime_);
  const Plan plan = Compile({.sampler = SamplerKind::kDdim, .steps = 10});
  std::vector<Trajectory> nine;
  for (int i = 0; i < 9; ++i) nine.push_back(Make(plan, i, {.guidance = {.scale = 2}}));
  std::vector<Trajectory*> trajectories;
  int rows = 0;
  for (Trajectory& trajectory : nine) {
    trajectories.push_back(&trajectory);
    rows += trajectory.rows();
  }
  const int64_t padded = GraphShapeOf(trajectories).rows - rows;
  ASSERT_GT(padded, 0);
  EXPECT_EQ(loop.Evaluate(trajectories).padded_rows, 0);
  EXPECT_EQ(loop.Evaluate(trajectories).padded_rows, 0);
  EXPECT_EQ(loop.Evaluate(trajectories).padded_rows, padded) << "now there is a graph";
}

TEST_F(DenoisingLoopTest, ImagesThatNeedMoreThanTheProductsAreEvaluatedWithoutAGraph) {
  SamplerPlan learned = *Compile({.sampler = SamplerKind::kDdpm, .steps = 6});
  for (Evaluation& evaluation : learned.evaluations) evaluation.noise = LearnedVariance();
  const Plan plain = Compile({.sampler = SamplerKind::kDdim, .steps = 6});
  EXPECT_FALSE(IsLinear(Make(std::make_shared<const SamplerPlan>(learned), 1)));
  EXPECT_FALSE(IsLinear(Make(plain, 1, {.guidance = {.scale = 2, .rescale = 0.7}})));
  EXPECT_TRUE(IsLinear(Make(plain, 1, {.guidance = {.scale = 2}})));
  const Plan thresholded =
      Compile({.sampler = SamplerKind::kDdim, .steps = 6, .thresholding = true});
  EXPECT_FALSE(IsLinear(Make(thresholded, 1)));
  EXPECT_FALSE(IsLinear(Make(
      plain, 1, {}, Inpainting{.picture = at::zeros({3, 5, 7}), .mask = at::ones({1, 5, 7})})));

  DenoisingLoop loop(network_, runtime_);
  std::vector<Trajectory> trajectories;
  trajectories.push_back(Make(plain, 1));
  trajectories.push_back(Make(thresholded, 2));
  Run(loop, trajectories);
  EXPECT_EQ(runtime_->captured, 0);
}

TEST_F(DenoisingLoopTest, ACaptureThatFailsIsReportedAndNotTriedAgain) {
  runtime_->on_capture = [] { throw std::runtime_error("not permitted while capturing"); };
  const Plan plan = Compile({.sampler = SamplerKind::kDdpm, .steps = 10});
  std::vector<Trajectory> trajectories, undisturbed;
  trajectories.push_back(Make(plan, 1));
  undisturbed.push_back(Make(plan, 1));
  std::vector<std::string> reported;
  DenoisingLoop loop(network_, runtime_,
                     [&](const std::exception& error) { reported.push_back(error.what()); });
  DenoisingLoop without(network_, CpuRuntime());
  Run(loop, trajectories);
  Run(without, undisturbed);
  EXPECT_EQ(runtime_->captured, 1);
  EXPECT_THAT(reported, testing::ElementsAre("not permitted while capturing"));
  EXPECT_TRUE(trajectories[0].x().equal(undisturbed[0].x()));
}

TEST_F(DenoisingLoopTest, AShapeWhoseCaptureRanOutOfMemoryIsCapturedLater) {
  constexpr int64_t kWait = DenoisingLoop::kEvaluationsBeforeRetry;
  const Plan plan = Compile({.sampler = SamplerKind::kDdim, .steps = 999});
  std::vector<Trajectory> one, two;
  for (int i = 0; i < 2; ++i) two.push_back(Make(plan, i));
  int reports = 0;
  DenoisingLoop loop(network_, runtime_, [&](const std::exception&) { ++reports; });
  runtime_->on_capture = [] { throw std::bad_alloc(); };
  for (int64_t i = 0; i < kWait; ++i) {
    if (i % 500 == 0) one.clear(), one.push_back(Make(plan, 1));
    Evaluate(loop, one);
  }
  EXPECT_EQ(runtime_->captured, 1);
  runtime_->on_capture = nullptr;
  for (int i = 0; i < 3; ++i) Evaluate(loop, two);  // another shape does not wait
  EXPECT_EQ(runtime_->captured, 2);
  EXPECT_EQ(runtime_->replayed, 1);
  Evaluate(loop, one);
  EXPECT_EQ(runtime_->captured, 3);
  EXPECT_EQ(runtime_->replayed, 2);
  EXPECT_EQ(reports, 1);
}

// The memory that graphs share is overwritten after every run, and a graph goes with its shape.
TEST_F(DenoisingLoopTest, GraphsAreCapturedAgainOnceAllAreGone) {
  const Plan plan = Compile({.sampler = SamplerKind::kDdpm, .steps = 10});
  std::vector<Trajectory> undisturbed;
  undisturbed.push_back(Make(plan, 1));
  DenoisingLoop without(network_, CpuRuntime());
  Run(without, undisturbed);
  for (int round = 0; round < 2; ++round) {
    DenoisingLoop loop(network_, runtime_);
    std::vector<Trajectory> trajectories;
    trajectories.push_back(Make(plan, 1));
    Run(loop, trajectories);
    EXPECT_EQ(runtime_->graphs(), 1);
    EXPECT_TRUE(trajectories[0].x().allclose(undisturbed[0].x(), 1e-4, 1e-4));
  }
  EXPECT_EQ(runtime_->graphs(), 0);
  EXPECT_EQ(runtime_->captured, 2);
}

TEST_F(DenoisingLoopTest, AReplayThatFailsMovesNothingAndMayBeTriedAgain) {
  const Plan plan = Compile({.sampler = SamplerKind::kDdpm, .steps = 10});
  std::vector<Trajectory> trajectories, undisturbed;
  trajectories.push_back(Make(plan, 1));
  undisturbed.push_back(Make(plan, 1));
  DenoisingLoop loop(network_, runtime_), without(network_, CpuRuntime());
  for (int i = 0; i < 5; ++i) Evaluate(loop, trajectories);
  runtime_->on_replay = [] { throw std::runtime_error("the device failed"); };
  const at::Tensor before = trajectories[0].slots().clone();
  EXPECT_ANY_THROW(Evaluate(loop, trajectories));
  EXPECT_TRUE(trajectories[0].slots().equal(before));
  runtime_->on_replay = nullptr;
  Run(loop, trajectories);
  Run(without, undisturbed);
  EXPECT_TRUE(trajectories[0].x().allclose(undisturbed[0].x(), 1e-4, 1e-4));
}

TEST_F(DenoisingLoopTest, AnImageThatIsNotFiniteDoesNotTouchItsNeighboursInAGraph) {
  const Plan plan = Compile({.sampler = SamplerKind::kDdim, .steps = 10});
  std::vector<Trajectory> trajectories;
  trajectories.push_back(Make(plan, 1, {.guidance = {.scale = 2}}));
  for (int i = 0; i < 8; ++i) trajectories.push_back(Make(plan, i));
  trajectories[0].Advance(trajectories[0].slots() * std::numeric_limits<float>::infinity());
  DenoisingLoop loop(network_, runtime_);
  for (int i = 0; i < 8; ++i) Evaluate(loop, trajectories);
  EXPECT_GT(runtime_->replayed, 0);
  trajectories.erase(trajectories.begin());
  Evaluate(loop, trajectories);
  for (const Trajectory& trajectory : trajectories) {
    EXPECT_TRUE(trajectory.slots().isfinite().all().item<bool>());
  }
}

TEST_F(DenoisingLoopTest, OnlyTheShapesUsedLastAreKept) {
  const Plan plan = Compile({.sampler = SamplerKind::kDdim, .steps = 200});
  std::vector<Trajectory> trajectories;
  for (int i = 0; i < 48; ++i) trajectories.push_back(Make(plan, i));
  DenoisingLoop loop(network_, runtime_);
  const auto evaluate = [&](size_t count) {
    std::vector<Trajectory*> running;
    for (size_t i = 0; i < count; ++i) running.push_back(&trajectories[i]);
    for (int i = 0; i < 3; ++i) loop.Evaluate(running);
  };
  const std::vector<size_t> counts = {1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40};
  for (const size_t count : counts) evaluate(count);
  EXPECT_EQ(runtime_->captured, 17);
  evaluate(40);
  EXPECT_EQ(runtime_->captured, 17);
  evaluate(1);  // one more than are kept
  EXPECT_EQ(runtime_->captured, 18);
}

TEST_F(DenoisingLoopTest, BatchesArePaddedByAQuarterAtMost) {
  const Plan plan = Compile({.sampler = SamplerKind::kDdim, .steps = 1});
  std::vector<Trajectory> trajectories;
  for (int i = 0; i < 70; ++i) trajectories.push_back(Make(plan, i));
  std::vector<Trajectory*> batch;
  std::vector<int64_t> shapes;
  for (Trajectory& trajectory : trajectories) {
    batch.push_back(&trajectory);
    const GraphShape shape = GraphShapeOf(batch);
    const int64_t count = static_cast<int64_t>(batch.size());
    EXPECT_EQ(shape.rows, shape.trajectories);
    EXPECT_GE(shape.rows, count);
    EXPECT_LE(shape.rows * 4, count * 5);
    if (shapes.empty() || shapes.back() != shape.rows) shapes.push_back(shape.rows);
  }
  EXPECT_THAT(shapes, testing::ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32,
                                           40, 48, 56, 64, 80));
}

}  // namespace
}  // namespace denoise
