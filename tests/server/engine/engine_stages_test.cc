// What the engine does before and after the evaluations of a model: encoding and decoding.
#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/pipeline/prompt.h"
#include "core/sampling/samplers/compile_plan.h"
#include "server/engine/engine.h"
#include "tests/server/engine/gate.h"
#include "tests/server/engine/latent_parts.h"
#include "tests/server/engine/recording_sink.h"
#include "tests/server/engine/silent_observer.h"
#include "tests/support/gaussian_network.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;

class EngineStagesTest : public testing::Test {
 protected:
  GenerationRequest Request(uint64_t seed) const {
    GenerationRequest request;
    request.pipelines = pipelines_;
    request.model = "models/latent";
    request.shape = network_->spec().sample;
    request.plan = std::make_shared<const SamplerPlan>(
        *CompilePlan(*Schedule::Create({}), {.sampler = SamplerKind::kDdim, .steps = 3}));
    request.seed = seed;
    return request;
  }

  GenerationRequest Prompted(uint64_t seed) const {
    GenerationRequest request = Request(seed);
    request.conditioning.conditions = {
        {std::make_shared<const Condition>(Condition{.prompt = std::make_shared<const Prompt>()})}};
    return request;
  }

  static std::shared_ptr<RecordingSink> Submit(Engine& engine, GenerationRequest request) {
    auto sink = std::make_shared<RecordingSink>();
    EXPECT_TRUE(engine.Submit(std::move(request), sink).ok());
    return sink;
  }

  const std::shared_ptr<GaussianNetwork> network_ =
      std::make_shared<GaussianNetwork>(*Schedule::Create({}), GaussianData{}, 3, 6, 6);
  const std::shared_ptr<DoublingCodec> codec_ = std::make_shared<DoublingCodec>();
  const std::shared_ptr<CountingPrompts> prompts_ = std::make_shared<CountingPrompts>();
  const std::shared_ptr<const PipelineReplicas> pipelines_ =
      std::make_shared<const PipelineReplicas>(
          PipelineReplicas{std::make_shared<const Pipeline>(Pipeline{network_, codec_, prompts_})});
};

// Every turn in a line.
class TurnObserver final : public SilentObserver {
 public:
  void OnTurn(const std::string& device, const TurnReport& turn) override {
    EXPECT_EQ(device, "cpu");
    EXPECT_GE(turn.began, started_);
    std::string line =
        absl::StrCat("kind ", static_cast<int>(turn.kind), " rows ", turn.active_rows);
    for (const ImageInTurn& image : turn.images) {
      absl::StrAppend(&line, ", ", image.request->name, " image ", image.index, " of ",
                      image.height, "x", image.width, " rows ", image.rows, " evaluation ",
                      image.evaluations_done, " step ", image.steps_done, " timestep ",
                      image.timestep.value_or(-1));
    }
    turns.push_back(line);
  }

  std::vector<std::string> turns;  // the worker's, until the engine is gone

 private:
  const absl::Time started_ = Clock::Real().Now();
};

TEST_F(EngineStagesTest, TurnsAreReportedWithThoseWhoTakePart) {
  TurnObserver observer;
  GenerationRequest request = Prompted(1);
  request.name = "generations/a";
  const auto plan = request.plan;
  {
    Engine engine({}, Clock::Real(), &observer);
    EXPECT_EQ(Submit(engine, std::move(request))->WaitUntilFinished(), absl::OkStatus());
  }
  const auto line = [](TurnReport::Kind kind, int done, double timestep) {
    return absl::StrCat("kind ", static_cast<int>(kind),
                        " rows 1, generations/a image 0 of 12x12 rows 1 evaluation ", done,
                        " step ", done, " timestep ", timestep);
  };
  std::vector<std::string> expected = {line(TurnReport::Kind::kEncode, 0, -1)};
  for (int i = 0; i < 3; ++i) {
    expected.push_back(line(TurnReport::Kind::kEvaluate, i, plan->evaluations[i].timestep));
  }
  expected.push_back(line(TurnReport::Kind::kDecode, 3, -1));
  expected.push_back("kind 0 rows 0");
  EXPECT_EQ(observer.turns, expected);
}

TEST_F(EngineStagesTest, WhatWaitsIsListedInTheOrderInWhichItWouldStart) {
  Gate gate;
  GenerationRequest request = Request(1);
  request.pipelines = std::make_shared<PipelineReplicas>(
      PipelineReplicas{PixelPipeline(std::make_shared<GaussianNetwork>(
          *Schedule::Create({}), GaussianData{}, 3, 6, 6, [&](const auto&) { gate.Pass(); }))});
  Engine engine({.max_batch_rows = 2, .max_active_rows = 2}, Clock::Real(), nullptr);
  std::vector<std::shared_ptr<RecordingSink>> sinks;
  for (const char* name : {"generations/a", "generations/b", "generations/c"}) {
    request.name = name;
    request.count = 2;
    sinks.push_back(Submit(engine, request));
  }
  gate.WaitUntilReached();
  const std::vector<QueuedRequest> queue = engine.Queue();
  ASSERT_EQ(queue.size(), 2u);
  EXPECT_EQ(queue[0].name, "generations/b");
  EXPECT_EQ(queue[0].model, "models/latent");
  EXPECT_EQ(queue[0].count, 2);
  EXPECT_EQ(queue[0].steps, 3);
  EXPECT_EQ(queue[1].name, "generations/c");
  EXPECT_LE(queue[0].submitted, queue[1].submitted);
  gate.Open();
  for (const auto& sink : sinks) EXPECT_EQ(sink->WaitUntilFinished(), absl::OkStatus());
  EXPECT_TRUE(engine.Queue().empty());
}

TEST_F(EngineStagesTest, ImagesAreDecoded) {
  Engine engine({}, Clock::Real(), nullptr);
  GenerationRequest raw = Request(7);
  raw.decode = false;
  const auto latents = Submit(engine, raw), pictures = Submit(engine, Request(7));
  ASSERT_TRUE(latents->WaitUntilFinished().ok());
  ASSERT_TRUE(pictures->WaitUntilFinished().ok());
  const at::Tensor x = latents->images()[0].sample, picture = pictures->images()[0].sample;
  EXPECT_EQ(x.sizes(), at::IntArrayRef({3, 6, 6}));
  EXPECT_EQ(picture.sizes(), at::IntArrayRef({3, 12, 12}));
  EXPECT_TRUE(picture.slice(1, 0, std::nullopt, 2).slice(2, 0, std::nullopt, 2).equal(x * 2));
  EXPECT_EQ(codec_->decoded, 1);
}

// What the observer hears of the stages around evaluations.
class StageObserver : public SilentObserver {
 public:
  void OnEncode(const std::string&, absl::Duration duration) override {
    EXPECT_GE(duration, absl::ZeroDuration());
    ++encodes;
  }
  void OnDecode(const std::string&, const DecodeReport& report) override {
    EXPECT_GT(report.decoding, absl::ZeroDuration());
    EXPECT_GE(report.waiting, absl::ZeroDuration());
    ++decodes;
  }
  void OnDecodeQueue(const std::string&, int images) override {
    longest_queue = std::max(longest_queue.load(), images);
    queue = images;
  }

  std::atomic<int> encodes = 0, decodes = 0, longest_queue = 0, queue = 0;
};

TEST_F(EngineStagesTest, StagesAreReported) {
  StageObserver observer;
  {
    Engine engine({}, Clock::Real(), &observer);
    GenerationRequest request = Prompted(7);
    request.count = 4;
    ASSERT_TRUE(Submit(engine, request)->WaitUntilFinished().ok());
    engine.Drain(absl::InfiniteFuture());
  }
  EXPECT_GE(observer.encodes, 1);
  EXPECT_EQ(observer.decodes, 4);
  EXPECT_EQ(observer.longest_queue, 4) << "they are denoised together";
  EXPECT_EQ(observer.queue, 0);
}

TEST_F(EngineStagesTest, PicturesThatRequestsBringAreEncoded) {
  Engine engine({}, Clock::Real(), nullptr);
  GenerationRequest request = Request(7);
  request.start = PictureStart{at::full({3, 12, 12}, 0.5)};
  request.count = 3;
  const auto sink = Submit(engine, request);
  ASSERT_TRUE(sink->WaitUntilFinished().ok());
  EXPECT_EQ(sink->images().size(), 3u);
  EXPECT_EQ(codec_->encoded, 3) << "each image has noise of its own";
}

TEST_F(EngineStagesTest, PromptsAreEncodedBeforeTheFirstEvaluation) {
  Engine engine({}, Clock::Real(), nullptr);
  GenerationRequest request = Prompted(7);
  request.count = 4;
  const auto sink = Submit(engine, request);
  ASSERT_TRUE(sink->WaitUntilFinished().ok());
  EXPECT_EQ(sink->images().size(), 4u);
  EXPECT_EQ(prompts_->most, 4u) << "those that wait together go together";
}

TEST_F(EngineStagesTest, AFailureToEncodeOrDecodeEndsItsOwnRequest) {
  Engine engine({}, Clock::Real(), nullptr);
  prompts_->fails = true;
  EXPECT_THAT(std::string(Submit(engine, Prompted(1))->WaitUntilFinished().message()),
              HasSubstr("encoding: a broken text encoder"));
  EXPECT_TRUE(Submit(engine, Request(1))->WaitUntilFinished().ok());
  codec_->fails = true;
  EXPECT_THAT(std::string(Submit(engine, Request(1))->WaitUntilFinished().message()),
              HasSubstr("decoding: a broken decoder"));
  codec_->fails = false;
  EXPECT_TRUE(Submit(engine, Request(1))->WaitUntilFinished().ok());
}

// Sizes take turns; each image is what it is alone.
TEST_F(EngineStagesTest, SizesDoNotShareACall) {
  Engine engine({}, Clock::Real(), nullptr);
  GenerationRequest wide = Request(3);
  wide.shape.width = 8;
  const auto first = Submit(engine, wide), second = Submit(engine, Request(3));
  ASSERT_TRUE(first->WaitUntilFinished().ok());
  ASSERT_TRUE(second->WaitUntilFinished().ok());
  EXPECT_EQ(first->images()[0].sample.sizes(), at::IntArrayRef({3, 12, 16}));
  const auto alone = Submit(engine, Request(3));
  ASSERT_TRUE(alone->WaitUntilFinished().ok());
  EXPECT_TRUE(alone->images()[0].sample.equal(second->images()[0].sample));
}

}  // namespace
}  // namespace denoise
