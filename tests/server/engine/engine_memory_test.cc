// Images that do not fit into the memory of their device fail alone, and are told what would fit.
#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <new>
#include <vector>

#include "core/base/error_details.h"
#include "core/sampling/samplers/compile_plan.h"
#include "server/engine/engine.h"
#include "server/engine/memory_errors.h"
#include "tests/server/engine/recording_sink.h"
#include "tests/support/gaussian_network.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

TEST(ImageOutOfMemory, NamesWhatDoesNotFitAndWhatHas) {
  const absl::Status status = ImageOutOfMemory({.device = "cuda:0",
                                                .image_index = 3,
                                                .height = 1024,
                                                .width = 2048,
                                                .size_multiple = 8,
                                                .rows = 2,
                                                .fitted_row_pixels = int64_t{1024} * 2048});
  EXPECT_EQ(
      status,
      WithErrorMetadata(
          WithErrorMetadata(
              WithErrorMetadata(
                  WithErrorReason(
                      absl::ResourceExhaustedError(
                          "cuda:0 ran out of memory for image 3 of 2048 x 1024 pixels, which "
                          "takes 2 rows of a network call. As many pixels as in 1 row of this "
                          "size, or in 2 rows of 1448 x 720 pixels, have fit: ask for a smaller "
                          "image, or for one without guidance"),
                      "OUT_OF_MEMORY"),
                  "fitting_rows", "1"),
              "fitting_height", "720"),
          "fitting_width", "1448"));
}

TEST(ImageOutOfMemory, PromisesNoMoreThanWhatHasJustFailed) {
  const absl::Status status = ImageOutOfMemory({.device = "cpu",
                                                .height = 512,
                                                .width = 512,
                                                .rows = 1,
                                                .fitted_row_pixels = int64_t{8} * 512 * 512});
  EXPECT_THAT(GetErrorMetadata(status),
              UnorderedElementsAre(Pair("fitting_rows", "0"), Pair("fitting_height", "511"),
                                   Pair("fitting_width", "511")));
}

TEST(ImageOutOfMemory, PromisesNothingWhereNothingHasRun) {
  const absl::Status status =
      ImageOutOfMemory({.device = "cpu", .height = 512, .width = 512, .rows = 1});
  EXPECT_THAT(std::string(status.message()), HasSubstr("No call of this model has fit so far"));
  EXPECT_TRUE(GetErrorMetadata(status).empty());
}

class EngineMemoryTest : public testing::Test {
 protected:
  // A request for one image of `side` pixels square.
  GenerationRequest Request(int64_t side) const {
    GenerationRequest request;
    request.pipelines = pipelines_;
    request.model = "models/small";
    request.shape = {3, side, side};
    request.plan = std::make_shared<const SamplerPlan>(
        *CompilePlan(*Schedule::Create({}), {.sampler = SamplerKind::kDdim, .steps = 3}));
    return request;
  }

  absl::Status Generate(Engine& engine, int64_t side) {
    auto sink = std::make_shared<RecordingSink>();
    const auto id = engine.Submit(Request(side), sink);
    return id.ok() ? sink->WaitUntilFinished() : id.status();
  }

  // Has memory for 200 numbers of a channel, and fails as a device does.
  std::atomic<bool> throws_bad_alloc_ = false;
  const std::shared_ptr<GaussianNetwork> network_ = std::make_shared<GaussianNetwork>(
      *Schedule::Create({}), GaussianData{}, 3, 8, 8, [this](const NetworkInput& input) {
        if (input.x.size(0) * input.x.size(2) * input.x.size(3) <= 200) return;
        if (throws_bad_alloc_) throw std::bad_alloc();
        TORCH_CHECK(false,
                    "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 TB");
      });
  const std::shared_ptr<const PipelineReplicas> pipelines_ =
      std::make_shared<const PipelineReplicas>(PipelineReplicas{PixelPipeline(network_)});
};

TEST_F(EngineMemoryTest, ImagesThatDoNotFitAreToldWhatHas) {
  Engine engine({}, Clock::Real(), nullptr);
  EXPECT_TRUE(Generate(engine, 8).ok());
  for (const bool throws_bad_alloc : {false, true}) {
    throws_bad_alloc_ = throws_bad_alloc;
    const absl::Status status = Generate(engine, 16);
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(GetErrorReason(status), "OUT_OF_MEMORY");
    EXPECT_THAT(std::string(status.message()), HasSubstr("16 x 16 pixels, which takes 1 row"));
    EXPECT_THAT(GetErrorMetadata(status),
                UnorderedElementsAre(Pair("fitting_rows", "0"), Pair("fitting_height", "8"),
                                     Pair("fitting_width", "8")));
  }
  EXPECT_TRUE(Generate(engine, 8).ok()) << "the worker lives";
}

TEST_F(EngineMemoryTest, WhatFitsOnlyAloneIsEvaluatedAlone) {
  Engine engine({}, Clock::Real(), nullptr);
  GenerationRequest request = Request(12);  // two rows take more than there is
  request.count = 4;
  auto sink = std::make_shared<RecordingSink>();
  ASSERT_TRUE(engine.Submit(std::move(request), sink).ok());
  EXPECT_TRUE(sink->WaitUntilFinished().ok());
  EXPECT_EQ(sink->images().size(), 4u);
}

// Three rows fit: batches of eight are halved until they do, later ones are no larger, and nobody
// fails.
TEST_F(EngineMemoryTest, ABatchThatDoesNotFitIsHalved) {
  std::vector<int64_t> rows;  // of each call, in order; the worker's until the request is over
  const auto network = std::make_shared<GaussianNetwork>(*Schedule::Create({}), GaussianData{}, 3,
                                                         8, 8, [&](const NetworkInput& input) {
                                                           rows.push_back(input.x.size(0));
                                                           if (input.x.size(0) > 3)
                                                             throw std::bad_alloc();
                                                         });
  Engine engine({.max_batch_rows = 8}, Clock::Real(), nullptr);
  GenerationRequest request = Request(8);
  request.pipelines =
      std::make_shared<const PipelineReplicas>(PipelineReplicas{PixelPipeline(network)});
  request.count = 8;
  auto sink = std::make_shared<RecordingSink>();
  ASSERT_TRUE(engine.Submit(std::move(request), sink).ok());
  ASSERT_EQ(sink->WaitUntilFinished(), absl::OkStatus());
  EXPECT_EQ(sink->images().size(), 8u);
  const std::vector<int64_t> first(rows.begin(), rows.begin() + 7);
  EXPECT_THAT(first, testing::ElementsAre(8, 4, 2, 2, 4, 2, 2));
  EXPECT_EQ(*std::max_element(rows.begin() + 7, rows.end()), 2) << "two rows are what has fit";
}

}  // namespace
}  // namespace denoise
