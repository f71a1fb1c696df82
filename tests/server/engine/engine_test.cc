#include "server/engine/engine.h"

#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <set>
#include <stdexcept>
#include <string>

#include "core/base/error_details.h"
#include "core/diffusion/denoising_loop.h"
#include "core/diffusion/row_batch.h"
#include "core/diffusion/sample.h"
#include "core/sampling/samplers/compile_plan.h"
#include "tests/server/engine/gate.h"
#include "tests/server/engine/recording_sink.h"
#include "tests/server/engine/silent_observer.h"
#include "tests/support/class_conditions.h"
#include "tests/support/gaussian_network.h"
#include "tests/support/object_tally.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

Schedule LinearSchedule() { return *Schedule::Create({}); }

std::shared_ptr<const SamplerPlan> Compile(SamplerKind sampler, int steps) {
  return std::make_shared<const SamplerPlan>(
      *CompilePlan(LinearSchedule(), {.sampler = sampler, .steps = steps}));
}

class CountingObserver : public SilentObserver {
 public:
  void OnBatchFailed(const std::string&, const std::string& what) override {
    EXPECT_EQ(what, "out of memory");
    ++failed_batches;
  }
  void OnEvaluation(const std::string& device, const EvaluationReport& report) override {
    EXPECT_EQ(device, "cpu");
    EXPECT_GE(report.total, report.network);
    ++evaluations;
    rows += report.rows;
    rows_saved += report.rows_saved;
    most_trajectories = std::max(most_trajectories.load(), report.trajectories);
    most_rows = std::max(most_rows.load(), report.rows);
  }

  ObjectCount* RequestCount() override { return &requests; }
  ObjectCount* ImageCount() override { return &images; }

  ObjectTally requests, images;
  std::atomic<int> failed_batches = 0, evaluations = 0, rows = 0, rows_saved = 0;
  std::atomic<int> most_trajectories = 0, most_rows = 0;
};

class EngineTest : public testing::Test {
 protected:
  // Classes 0 and 1 are data, 2 stands for none.
  std::shared_ptr<const PipelineReplicas> Networks(GaussianNetwork::Hook hook,
                                                   std::vector<double> means = {-0.5, 0.5, 0}) {
    return std::make_shared<PipelineReplicas>(
        PipelineReplicas{PixelPipeline(std::make_shared<GaussianNetwork>(
            LinearSchedule(), GaussianData{.means = std::move(means), .deviation = 0.3}, 3, 6, 6,
            std::move(hook)))});
  }

  GenerationRequest Request(std::shared_ptr<const PipelineReplicas> networks, int64_t label,
                            uint64_t seed) {
    GenerationRequest request;
    request.shape = networks->front()->network->spec().sample;
    request.pipelines = std::move(networks);
    request.plan = Compile(SamplerKind::kDdim, 5);
    request.conditioning = {
        .conditions = Classes({{label}}), .unconditional = ClassCondition(2), .guidance = {}};
    request.seed = seed;
    return request;
  }

  std::shared_ptr<RecordingSink> Submit(Engine& engine, GenerationRequest request,
                                        Engine::Id* id = nullptr) {
    auto sink = std::make_shared<RecordingSink>();
    const auto submitted = engine.Submit(std::move(request), sink);
    EXPECT_TRUE(submitted.ok()) << submitted.status();
    if (id != nullptr) *id = submitted.value_or(0);
    return sink;
  }

  CountingObserver observer_;
};

TEST_F(EngineTest, RequestsWithDifferentSamplersShareEvaluationsAndMakeWhatTheyMakeAlone) {
  Gate gate;
  const auto networks = Networks([&](const NetworkInput&) { gate.Pass(); });
  Engine engine({.max_batch_rows = 8}, Clock::Real(), &observer_);
  const SamplerKind samplers[] = {SamplerKind::kDdpm, SamplerKind::kDdim,
                                  SamplerKind::kDpmSolverPlusPlus, SamplerKind::kUniPc};
  std::vector<GenerationRequest> requests;
  std::vector<std::shared_ptr<RecordingSink>> sinks;
  for (int i = 0; i < 4; ++i) {
    GenerationRequest request = Request(networks, i % 2, 10 * i);
    request.plan = Compile(samplers[i], 4 + i);
    request.count = 2;
    request.conditioning.guidance.scale = 1 + i;
    requests.push_back(request);
    sinks.push_back(Submit(engine, request));
  }
  gate.Open();
  const auto plain = Networks(nullptr);
  for (int i = 0; i < 4; ++i) {
    ASSERT_EQ(sinks[i]->WaitUntilFinished(), absl::OkStatus());
    ASSERT_EQ(sinks[i]->images().size(), 2u);
    for (const ImageUpdate& image : sinks[i]->images()) {
      EXPECT_EQ(image.seed, requests[i].seed + image.image_index);
      const at::Tensor alone = Sample(*plain->front()->network, requests[i].plan,
                                      {{image.seed, requests[i].conditioning}})[0];
      EXPECT_TRUE(image.sample.equal(alone)) << "request " << i << " image " << image.image_index;
    }
  }
  EXPECT_GE(observer_.most_trajectories, 4);
  EXPECT_LE(observer_.most_rows, 8);
}

TEST_F(EngineTest, CountsTheRowsThatWereTakenAndThoseThatAnIntervalSaved) {
  GenerationRequest request = Request(Networks(nullptr), 0, 1);  // 5 evaluations
  request.conditioning.conditions = Classes({{0, 0.5}, {1, 0.5}});
  request.conditioning.guidance = {.scale = 2,
                                   .timesteps = {.max = request.plan->evaluations[3].timestep}};
  {
    Engine engine({}, Clock::Real(), &observer_);
    ASSERT_EQ(Submit(engine, request)->WaitUntilFinished(), absl::OkStatus());
  }  // once the worker is gone, it has reported everything
  EXPECT_EQ(observer_.evaluations, 5);
  EXPECT_EQ(observer_.rows, 2 * 5 + 2);
  EXPECT_EQ(observer_.rows_saved, 3);
}

TEST_F(EngineTest, FramesFollowTheirPolicy) {
  Engine engine({}, Clock::Real(), nullptr);
  const auto networks = Networks(nullptr);
  GenerationRequest request = Request(networks, 0, 1);  // 5 steps
  request.frames = {.every_n_steps = 2, .kinds = {FrameKind::kXt}};
  const auto x_t = Submit(engine, request);
  request.frames.kinds = {FrameKind::kX0};
  const auto x0 = Submit(engine, request);
  ASSERT_EQ(x_t->WaitUntilFinished(), absl::OkStatus());
  ASSERT_EQ(x0->WaitUntilFinished(), absl::OkStatus());
  std::vector<int> steps;
  for (const FrameUpdate& frame : x_t->frames()) steps.push_back(frame.step);
  EXPECT_THAT(steps, testing::ElementsAre(2, 4, 5));
  EXPECT_EQ(x_t->steps(), 5);
  // After the last step x_t is the image; before, it is noisier than the predicted x0.
  EXPECT_TRUE(x_t->frames()[2].sample.equal(x_t->images()[0].sample));
  const auto distance = [](const FrameUpdate& frame) {
    return (frame.sample + 0.5).abs().mean().item<float>();
  };
  EXPECT_GT(distance(x_t->frames()[0]), distance(x0->frames()[0]));
  EXPECT_EQ(x0->frames()[0].timestep, request.plan->evaluations[1].timestep);
}

TEST_F(EngineTest, TheFrameOfTheLastStepCanBeSkipped) {
  Engine engine({}, Clock::Real(), nullptr);
  GenerationRequest request = Request(Networks(nullptr), 0, 1);  // 5 steps
  for (const int every : {1, 2, 5}) {
    request.frames = {.every_n_steps = every, .skip_last = true};
    const auto sink = Submit(engine, request);
    ASSERT_EQ(sink->WaitUntilFinished(), absl::OkStatus());
    EXPECT_EQ(sink->frames().size(), 4 / every);
  }
}

TEST_F(EngineTest, FramesOfBothKindsAreThoseOfEachAlone) {
  Engine engine({}, Clock::Real(), nullptr);
  GenerationRequest request = Request(Networks(nullptr), 0, 1);  // 5 steps
  request.frames = {.every_n_steps = 2, .kinds = {FrameKind::kXt, FrameKind::kX0}};
  const auto both = Submit(engine, request);
  request.frames.kinds = {FrameKind::kXt};
  const auto x_t = Submit(engine, request);
  request.frames.kinds = {FrameKind::kX0};
  const auto x0 = Submit(engine, request);
  for (const auto& sink : {both, x_t, x0}) ASSERT_EQ(sink->WaitUntilFinished(), absl::OkStatus());
  ASSERT_EQ(both->frames().size(), 6u);
  for (size_t i = 0; i < 6; ++i) {
    const FrameUpdate frame = both->frames()[i];
    const FrameUpdate alone = (i % 2 == 0 ? x_t : x0)->frames()[i / 2];
    EXPECT_EQ(frame.kind, alone.kind);
    EXPECT_EQ(frame.step, alone.step);
    EXPECT_EQ(frame.timestep, alone.timestep);
    EXPECT_TRUE(frame.sample.equal(alone.sample)) << "frame " << i;
  }
}

TEST_F(EngineTest, CancellationTakesEffectAtTheNextEvaluation) {
  std::atomic<int> evaluations = 0;
  Gate gate;
  const auto networks = Networks([&](const NetworkInput&) {
    if (++evaluations == 3) gate.Pass();
  });
  Engine engine({}, Clock::Real(), &observer_);
  GenerationRequest request = Request(networks, 0, 1);
  request.plan = Compile(SamplerKind::kDdim, 500);
  Engine::Id id = 0;
  const auto sink = Submit(engine, request, &id);
  gate.WaitUntilReached();
  engine.Cancel(id);
  gate.Open();
  EXPECT_EQ(sink->WaitUntilFinished().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(evaluations, 3);
  EXPECT_TRUE(sink->images().empty());
  engine.Cancel(id);  // ignored
}

TEST_F(EngineTest, ARowThatFailsDoesNotFailItsNeighbours) {
  Gate gate;
  const auto networks = Networks([&](const NetworkInput& input) {
    gate.Pass();
    if ((input.conditions.class_labels == 1).any().item<bool>())
      throw std::runtime_error("out of memory");
  });
  Engine engine({}, Clock::Real(), &observer_);
  const auto healthy = Submit(engine, Request(networks, 0, 1));
  const auto broken = Submit(engine, Request(networks, 1, 2));
  gate.Open();
  EXPECT_EQ(healthy->WaitUntilFinished(), absl::OkStatus());
  EXPECT_EQ(broken->WaitUntilFinished().code(), absl::StatusCode::kInternal);
  const auto alone = Submit(engine, Request(networks, 0, 1));
  EXPECT_EQ(alone->WaitUntilFinished(), absl::OkStatus());
  EXPECT_TRUE(healthy->images()[0].sample.equal(alone->images()[0].sample));
  EXPECT_GE(observer_.failed_batches, 1);
}

TEST_F(EngineTest, LetsGoOfEveryRequestAndImageHoweverTheyEnd) {
  Gate gate;
  const auto networks = Networks([&](const NetworkInput& input) {
    gate.Pass();
    if ((input.conditions.class_labels == 1).any().item<bool>())
      throw std::runtime_error("out of memory");
  });
  {
    Engine engine({.max_batch_rows = 4, .max_active_rows = 4}, Clock::Real(), &observer_);
    GenerationRequest pair = Request(networks, 0, 1);
    pair.count = 2;
    Engine::Id to_cancel = 0, waiting = 0;
    const auto succeeds = Submit(engine, pair);
    const auto fails = Submit(engine, Request(networks, 1, 2));
    const auto cancelled = Submit(engine, Request(networks, 0, 3), &to_cancel);
    const auto never_starts = Submit(engine, pair, &waiting);
    gate.WaitUntilReached();
    EXPECT_EQ(observer_.requests.created, 4);
    EXPECT_EQ(observer_.requests.destroyed, 0);
    engine.Cancel(to_cancel);
    engine.Cancel(waiting);
    gate.Open();
    EXPECT_EQ(succeeds->WaitUntilFinished(), absl::OkStatus());
    for (const auto& sink : {fails, cancelled, never_starts}) {
      EXPECT_FALSE(sink->WaitUntilFinished().ok());
    }
    Submit(engine, Request(networks, 0, 4));  // which the engine's own end cuts off
  }
  EXPECT_EQ(observer_.requests.created, 5);
  EXPECT_EQ(observer_.requests.destroyed, 5);
  EXPECT_GE(observer_.images.created, 3);
  EXPECT_EQ(observer_.images.destroyed, observer_.images.created);
}

// A failure after the noise was drawn: the network's answer has no row for the second image.
TEST(RowBatchRetry, AnEvaluationThatFailedHasTheSameNoiseWhenTriedAgain) {
  const GaussianNetwork network(LinearSchedule(), {.means = {0.1}, .deviation = 0.3}, 3, 6, 6);
  const auto plan = Compile(SamplerKind::kDdpm, 3);
  const auto runtime = MakeDeviceRuntime(at::kCPU);
  Trajectory retried(plan, {}, 7, network.spec().sample, *runtime),
      undisturbed(plan, {}, 7, network.spec().sample, *runtime);
  {
    RowBatch batch({&retried}, network, *runtime);
    const at::Tensor noise = retried.noise().clone();
    EXPECT_ANY_THROW(batch.Update(network.Forward(batch.input()).narrow(2, 0, 3)));
    EXPECT_TRUE(retried.noise().equal(noise));
  }
  for (Trajectory* trajectory : {&retried, &undisturbed}) {
    DenoisingLoop(network, runtime).Evaluate({trajectory});
  }
  EXPECT_TRUE(retried.slots().equal(undisturbed.slots()));
}

TEST_F(EngineTest, WhatLeavesTheEngineKeepsNothingElseInMemory) {
  Engine engine({}, Clock::Real(), nullptr);
  GenerationRequest request = Request(Networks(nullptr), 0, 1);
  request.count = 4;
  request.frames.every_n_steps = 1;
  const auto sink = Submit(engine, request);
  ASSERT_EQ(sink->WaitUntilFinished(), absl::OkStatus());
  ASSERT_FALSE(sink->frames().empty());
  for (const FrameUpdate& frame : sink->frames()) {
    EXPECT_EQ(frame.sample.storage().nbytes(), frame.sample.nbytes());
  }
  for (const ImageUpdate& image : sink->images()) {
    EXPECT_EQ(image.sample.storage().nbytes(), image.sample.nbytes());
  }
}

// M7: a caller hears of an output that is not finite.
TEST_F(EngineTest, AnOutputThatIsNotFiniteFailsItsRequestOnly) {
  Gate gate;
  const auto networks = Networks([&](const NetworkInput&) { gate.Pass(); },
                                 {0.1, std::numeric_limits<double>::quiet_NaN(), 0});
  Engine engine({}, Clock::Real(), &observer_);
  const auto healthy = Submit(engine, Request(networks, 0, 1));
  GenerationRequest not_finite = Request(networks, 1, 2);
  not_finite.model = "models/faces";
  not_finite.frames.every_n_steps = 1;
  const auto broken = Submit(engine, not_finite);
  gate.Open();
  EXPECT_EQ(healthy->WaitUntilFinished(), absl::OkStatus());
  const absl::Status status = broken->WaitUntilFinished();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("models/faces predicted values that are not finite for image 0 at step 1 "
                        "of"));
  EXPECT_FALSE(WithholdsMessage(status)) << "callers are told";
  EXPECT_THAT(broken->frames(), IsEmpty()) << "nor does anybody see NaN as a picture";
}

TEST_F(EngineTest, DrainingFinishesWhatIsRunning) {
  Engine engine({}, Clock::Real(), nullptr);
  const auto networks = Networks(nullptr);
  GenerationRequest request = Request(networks, 0, 1);
  request.count = 20;
  const auto sink = Submit(engine, request);
  engine.Drain(absl::InfiniteFuture());
  EXPECT_EQ(sink->status(), absl::OkStatus());
  EXPECT_EQ(sink->images().size(), 20u);
  const auto refused = engine.Submit(request, std::make_shared<RecordingSink>());
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(EngineTest, WhatIsLeftAtTheDrainDeadlineEndsUnavailable) {
  Engine engine({}, Clock::Real(), nullptr);
  GenerationRequest request = Request(Networks(nullptr), 0, 1);
  request.plan = Compile(SamplerKind::kDdim, 1000);
  request.count = 64;
  const auto sink = Submit(engine, request);
  engine.Drain(absl::InfinitePast());
  EXPECT_EQ(sink->status()->code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(sink->finishes(), 1);
}

}  // namespace
}  // namespace denoise
