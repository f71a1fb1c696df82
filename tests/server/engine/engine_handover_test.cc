// What an engine that drains hands over, and how another one continues it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <numeric>
#include <vector>

#include "absl/synchronization/notification.h"
#include "core/base/retry.h"
#include "core/pipeline/pixel_pipeline.h"
#include "core/sampling/samplers/compile_plan.h"
#include "server/engine/engine.h"
#include "tests/server/engine/recording_sink.h"
#include "tests/support/gaussian_network.h"

namespace denoise {
namespace {

using testing::SizeIs;

constexpr int kSteps = 6;

class MovingSink : public RecordingSink {
 public:
  bool AcceptsHandover() override { return true; }
  void OnHandover(std::vector<ImageSnapshot> begun) override {
    ++handovers;
    images_begun = std::move(begun);
  }

  std::atomic<int> handovers = 0;
  std::vector<ImageSnapshot> images_begun;  // read once it is finished
};

class EngineHandoverTest : public testing::Test {
 protected:
  // A network that calls `hook` before each evaluation.
  static std::shared_ptr<const PipelineReplicas> Pipelines(GaussianNetwork::Hook hook = nullptr) {
    return std::make_shared<const PipelineReplicas>(
        PipelineReplicas{PixelPipeline(std::make_shared<GaussianNetwork>(
            *Schedule::Create({}), GaussianData{}, 3, 8, 8, std::move(hook)))});
  }

  static GenerationRequest Request(std::shared_ptr<const PipelineReplicas> pipelines) {
    GenerationRequest request;
    request.pipelines = std::move(pipelines);
    request.shape = {3, 8, 8};
    request.plan = std::make_shared<const SamplerPlan>(
        *CompilePlan(*Schedule::Create({}), {.sampler = SamplerKind::kDdpm, .steps = kSteps}));
    request.seed = 5;
    request.count = 3;
    return request;
  }

  static std::vector<at::Tensor> Samples(const RecordingSink& sink) {
    std::vector<at::Tensor> samples(3);
    for (const ImageUpdate& image : sink.images()) samples[image.image_index] = image.sample;
    return samples;
  }
};

TEST_F(EngineHandoverTest, AnotherEngineContinuesWithTheSameBits) {
  const auto alone = std::make_shared<RecordingSink>();
  Engine reference({}, Clock::Real(), nullptr);
  ASSERT_TRUE(reference.Submit(Request(Pipelines()), alone).ok());
  ASSERT_TRUE(alone->WaitUntilFinished().ok());

  // Drains during the third evaluation.
  Engine* draining = nullptr;
  std::atomic<int> evaluations = 0;
  const auto pipelines = Pipelines([&](const NetworkInput&) {
    if (++evaluations == 3) draining->StartDraining();
  });
  const auto first = std::make_shared<MovingSink>();
  {
    Engine engine({}, Clock::Real(), nullptr);
    draining = &engine;
    ASSERT_TRUE(engine.Submit(Request(pipelines), first).ok());
    EXPECT_EQ(first->WaitUntilFinished(), DrainingError());
  }
  EXPECT_EQ(evaluations, 3) << "the one that ran, and no other";
  EXPECT_EQ(first->handovers, 1);
  ASSERT_THAT(first->images_begun, SizeIs(3));
  for (const ImageSnapshot& image : first->images_begun) {
    EXPECT_EQ(image.trajectory.evaluations_done, 3);
  }

  std::atomic<int> rows = 0;
  GenerationRequest rest = Request(
      Pipelines([&](const NetworkInput& input) { rows += static_cast<int>(input.x.size(0)); }));
  rest.continues_from.images_begun = first->images_begun;
  const auto second = std::make_shared<RecordingSink>();
  ASSERT_TRUE(reference.Submit(std::move(rest), second).ok());
  ASSERT_TRUE(second->WaitUntilFinished().ok());
  EXPECT_EQ(rows, 3 * (kSteps - 3));
  const auto expected = Samples(*alone), continued = Samples(*second);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(continued[i].equal(expected[i])) << "image " << i;
}

// One image is done, one has all its evaluations behind it, one has not begun.
TEST_F(EngineHandoverTest, OnlyWhatIsLeftIsDone) {
  const auto alone = std::make_shared<RecordingSink>();
  Engine engine({}, Clock::Real(), nullptr);
  ASSERT_TRUE(engine.Submit(Request(Pipelines()), alone).ok());
  ASSERT_TRUE(alone->WaitUntilFinished().ok());
  const auto expected = Samples(*alone);

  std::atomic<int> rows = 0;
  GenerationRequest rest = Request(
      Pipelines([&](const NetworkInput& input) { rows += static_cast<int>(input.x.size(0)); }));
  rest.continues_from.images_done = {0};
  rest.continues_from.images_begun = {
      {.image_index = 1,
       .trajectory = {.evaluations_done = kSteps, .slots = expected[1].unsqueeze(0)}}};
  const auto sink = std::make_shared<RecordingSink>();
  ASSERT_TRUE(engine.Submit(std::move(rest), sink).ok());
  ASSERT_TRUE(sink->WaitUntilFinished().ok());
  EXPECT_THAT(sink->images(), SizeIs(2));
  EXPECT_EQ(rows, kSteps);
  const auto continued = Samples(*sink);
  EXPECT_TRUE(continued[1].equal(expected[1]));
  EXPECT_TRUE(continued[2].equal(expected[2]));
}

// Both share every batch.
// One that waits to continue is handed over again before its images have run here.
TEST_F(EngineHandoverTest, WhatHasNotComeToItsTurnKeepsTheWorkThatItCameWith) {
  TrajectorySnapshot half_way;
  {
    Engine* draining = nullptr;
    std::atomic<int> evaluations = 0;
    const auto sink = std::make_shared<MovingSink>();
    Engine engine({}, Clock::Real(), nullptr);
    draining = &engine;
    ASSERT_TRUE(engine
                    .Submit(Request(Pipelines([&](const NetworkInput&) {
                              if (++evaluations == 3) draining->StartDraining();
                            })),
                            sink)
                    .ok());
    EXPECT_EQ(sink->WaitUntilFinished(), DrainingError());
    half_way = sink->images_begun.at(0).trajectory;
  }
  absl::Notification evaluates, ends;
  const auto busy = std::make_shared<MovingSink>(), waits = std::make_shared<MovingSink>();
  Engine engine({.max_batch_rows = 3, .max_active_rows = 3}, Clock::Real(), nullptr);
  ASSERT_TRUE(engine
                  .Submit(Request(Pipelines([&](const NetworkInput&) {
                            if (!evaluates.HasBeenNotified()) evaluates.Notify();
                            ends.WaitForNotification();
                          })),
                          busy)
                  .ok());
  evaluates.WaitForNotification();
  GenerationRequest continued = Request(Pipelines());
  continued.continues_from.images_begun = {{0, half_way}, {2, half_way}};
  ASSERT_TRUE(engine.Submit(std::move(continued), waits).ok());
  engine.StartDraining();
  ends.Notify();
  EXPECT_EQ(waits->WaitUntilFinished(), DrainingError());
  ASSERT_THAT(waits->images_begun, SizeIs(2));
  for (const ImageSnapshot& image : waits->images_begun) {
    EXPECT_EQ(image.trajectory.evaluations_done, 3) << "image " << image.image_index;
  }
}

TEST_F(EngineHandoverTest, PausingOneLeavesTheOthersInTheBatchAsTheyAre) {
  const auto alone = std::make_shared<RecordingSink>();
  Engine reference({}, Clock::Real(), nullptr);
  ASSERT_TRUE(reference.Submit(Request(Pipelines()), alone).ok());
  ASSERT_TRUE(alone->WaitUntilFinished().ok());

  Engine* pausing = nullptr;
  Engine::Id to_pause = 0;
  std::vector<int> rows;
  absl::Notification both_submitted;
  const auto pipelines = Pipelines([&](const NetworkInput& input) {
    both_submitted.WaitForNotification();
    rows.push_back(static_cast<int>(input.x.size(0)));
    if (rows.size() == 3) pausing->Pause(to_pause);
  });
  const auto paused = std::make_shared<MovingSink>(), stays = std::make_shared<MovingSink>();
  {
    Engine engine({}, Clock::Real(), nullptr);
    pausing = &engine;
    to_pause = *engine.Submit(Request(pipelines), paused);
    ASSERT_TRUE(engine.Submit(Request(pipelines), stays).ok());
    both_submitted.Notify();
    EXPECT_EQ(paused->WaitUntilFinished(), PausedError());
    EXPECT_TRUE(stays->WaitUntilFinished().ok());
  }
  EXPECT_EQ(std::accumulate(rows.begin(), rows.end(), 0) -
                3 * paused->images_begun.at(0).trajectory.evaluations_done,
            3 * kSteps)
      << "the other has had its evaluations, each once";
  EXPECT_EQ(stays->handovers, 0);
  const auto expected = Samples(*alone), undisturbed = Samples(*stays);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(undisturbed[i].equal(expected[i])) << "image " << i;

  GenerationRequest rest = Request(Pipelines());
  rest.continues_from.images_begun = paused->images_begun;
  const auto resumed = std::make_shared<RecordingSink>();
  ASSERT_TRUE(reference.Submit(std::move(rest), resumed).ok());
  ASSERT_TRUE(resumed->WaitUntilFinished().ok());
  const auto continued = Samples(*resumed);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(continued[i].equal(expected[i])) << "image " << i;
}

TEST_F(EngineHandoverTest, WhatIsFinishedByTheEvaluationThatRunsIsNotHandedOver) {
  Engine* draining = nullptr;
  std::atomic<int> evaluations = 0;
  const auto pipelines = Pipelines([&](const NetworkInput&) {
    if (++evaluations == kSteps) draining->StartDraining();
  });
  const auto sink = std::make_shared<MovingSink>();
  Engine engine({}, Clock::Real(), nullptr);
  draining = &engine;
  ASSERT_TRUE(engine.Submit(Request(pipelines), sink).ok());
  EXPECT_TRUE(sink->WaitUntilFinished().ok());
  EXPECT_THAT(sink->images(), SizeIs(3));
  EXPECT_EQ(sink->handovers, 0);
}

TEST_F(EngineHandoverTest, WhatAcceptsNoHandoverIsFinished) {
  Engine* draining = nullptr;
  std::atomic<int> evaluations = 0;
  const auto pipelines = Pipelines([&](const NetworkInput&) {
    if (++evaluations == 2) draining->StartDraining();
  });
  const auto sink = std::make_shared<RecordingSink>();
  Engine engine({}, Clock::Real(), nullptr);
  draining = &engine;
  ASSERT_TRUE(engine.Submit(Request(pipelines), sink).ok());
  EXPECT_TRUE(sink->WaitUntilFinished().ok());
  EXPECT_FALSE(engine.Submit(Request(pipelines), std::make_shared<RecordingSink>()).ok());
}

}  // namespace
}  // namespace denoise
