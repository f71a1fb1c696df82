#include "server/engine/active_generation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/server/engine/recording_sink.h"
#include "tests/support/class_conditions.h"

namespace denoise {
namespace {

using testing::ElementsAre;

// Three evaluations, at timesteps 2, 1 and 0.
GenerationRequest Request() {
  SamplerPlan plan;
  for (const double timestep : {2, 1, 0}) plan.evaluations.push_back({.timestep = timestep});
  GenerationRequest request;
  request.pipelines = std::make_shared<PipelineReplicas>();
  request.plan = std::make_shared<const SamplerPlan>(plan);
  return request;
}

TEST(DemandOf, AnImageTakesARowForEachClassAndOneMoreWhereItIsGuided) {
  GenerationRequest request = Request();
  EXPECT_EQ(DemandOf(request).rows_max, 1);
  request.conditioning.guidance.scale = 2;
  EXPECT_EQ(DemandOf(request).rows_max, 2);
  request.conditioning.conditions = Classes({{0, 0.5}, {1, 0.25}, {2, 0.25}});
  EXPECT_EQ(DemandOf(request).rows_max, 4);
  EXPECT_EQ(DemandOf(request).rows_first, 4);
  EXPECT_EQ(DemandOf(request).rows_full, 4);
}

TEST(DemandOf, IntervalsOfGuidanceSaveRows) {
  GenerationRequest request = Request();
  request.conditioning.guidance = {.scale = 2, .timesteps = {.max = 1}};
  EXPECT_EQ(DemandOf(request).rows_first, 1);
  EXPECT_EQ(DemandOf(request).rows_max, 2);
  request.conditioning.guidance.timesteps.max = -1;
  EXPECT_EQ(DemandOf(request).rows_max, 1) << "no evaluation is inside";
  EXPECT_EQ(DemandOf(request).rows_full, 2);
}

TEST(DemandOf, CarriesWhatTheOrderDependsOn) {
  GenerationRequest request = Request();
  request.count = 7;
  request.priority = Priority::kBatch;
  request.tenant = "studio";
  request.deadline = absl::UnixEpoch();
  const WorkDemand demand = DemandOf(request);
  EXPECT_EQ(demand.network.get(), request.pipelines.get());
  EXPECT_EQ(demand.items, 7);
  EXPECT_EQ(demand.evaluations, 3);
  EXPECT_EQ(demand.flow.priority, Priority::kBatch);
  EXPECT_EQ(demand.flow.tenant, "studio");
  EXPECT_EQ(demand.deadline, absl::UnixEpoch());
}

TEST(ActiveGeneration, PassesOnPositionsThatChangeUntilItStarts) {
  const auto sink = std::make_shared<RecordingSink>();
  const auto generation = std::make_shared<ActiveGeneration>(Request(), sink, absl::UnixEpoch());
  absl::Time now = absl::UnixEpoch();
  for (const int position : {3, 3, 4, 1}) {
    generation->OnQueued({.position = position, .as_of = now += absl::Seconds(1)});
  }
  generation->OnQueued({.position = 7, .as_of = absl::UnixEpoch()});  // late
  generation->Started(absl::UnixEpoch());
  generation->OnQueued({.as_of = now + absl::Seconds(1)});
  EXPECT_THAT(sink->positions(), ElementsAre(3, 4, 1));
}

TEST(ActiveGeneration, PassesOnAnExpectedStartThatHasMoved) {
  const auto sink = std::make_shared<RecordingSink>();
  const auto generation = std::make_shared<ActiveGeneration>(Request(), sink, absl::UnixEpoch());
  const auto tell = [&](double as_of, std::optional<double> wait) {
    QueuePlace place{.as_of = absl::UnixEpoch() + absl::Seconds(as_of)};
    if (wait) place.expected_wait = absl::Seconds(*wait);
    generation->OnQueued(place);
    return sink->positions().size();
  };
  EXPECT_EQ(tell(1, std::nullopt), 1u);
  EXPECT_EQ(tell(2, 20), 2u) << "it is known now";
  EXPECT_EQ(tell(4, 18), 2u) << "the same start";
  EXPECT_EQ(tell(5, 20), 2u) << "3 s later";
  EXPECT_EQ(tell(6, 30), 3u) << "14 s later";
  EXPECT_EQ(tell(7, 10), 4u) << "19 s earlier";
  EXPECT_EQ(tell(16, 1.5), 4u);
}

TEST(ActiveGeneration, ItsSinkHearsNothingAfterTheFirstEnd) {
  const auto sink = std::make_shared<RecordingSink>();
  const auto generation = std::make_shared<ActiveGeneration>(Request(), sink, absl::UnixEpoch());
  generation->OnFinished(absl::CancelledError(""));
  generation->OnFinished(absl::OkStatus());
  generation->Step(0, 1);
  generation->Image({.image_index = 0});
  EXPECT_EQ(sink->finishes(), 1);
  EXPECT_EQ(sink->status(), absl::CancelledError(""));
  EXPECT_EQ(sink->steps(), 0);
  EXPECT_TRUE(sink->images().empty());
}

}  // namespace
}  // namespace denoise
