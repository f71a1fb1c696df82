// Several ranks train one model: threads here, connected as processes would be.
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error_details.h"
#include "core/base/mutex.h"
#include "core/nn/unet2d.h"
#include "core/train/shared_batches.h"
#include "tests/core/ranks/rank_threads.h"
#include "tests/core/train/trainer_testing.h"

namespace denoise {
namespace {

struct RankRun {
  std::vector<StepReport> reports;
  TrainingSnapshot end;
  absl::Status status;  // of the first slice that failed
};

// Trains as rank group.rank(), as a leader and its followers would.
RankRun TrainAsRank(Trainer::Setup setup, std::unique_ptr<RankGroup> group, int steps,
                    const TrainingSnapshot* from = nullptr) {
  const bool leads = group->rank() == 0;
  if (!leads) {
    const auto spec = setup.binder(setup.weights, at::kFloat)->spec();
    setup.batches = std::make_shared<ReceivedBatches>(spec, setup.options.batch_size,
                                                      setup.batches->pictures(), group.get());
  }
  RankRun run;
  auto trainer = Trainer::Create(std::move(setup)).value();
  if (from != nullptr) run.status = trainer->Restore(*from);
  trainer->TrainWith(std::move(group));
  while (run.status.ok() && !trainer->done() && (!leads || trainer->steps_done() < steps)) {
    const auto report = trainer->RunSlice();
    if (!report.ok()) {
      run.status = report.status();
    } else if (*report) {
      run.reports.push_back(**report);
    }
  }
  run.end = trainer->Snapshot().value();
  return run;
}

std::vector<RankRun> TrainOnRanks(int ranks, const std::function<Trainer::Setup(int)>& setup,
                                  int steps, const TrainingSnapshot* from = nullptr) {
  std::vector<RankRun> runs(static_cast<size_t>(ranks));
  RunRanks(ranks, [&](std::unique_ptr<RankGroup> group) {
    at::set_num_threads(1);
    RankRun& run = runs[static_cast<size_t>(group->rank())];
    const Trainer::Setup made = setup(group->rank());
    run = TrainAsRank(made, std::move(group), steps, from);
  });
  return runs;
}

constexpr int kSteps = 20;

class TrainerRanks : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, TrainerRanks, testing::Values(2, 3, 4));

// Sums of gradients are added in another order, in float32. Losses stay within 1e-5 of each other.
TEST_P(TrainerRanks, TheirLossesAreThoseOfOneRank) {
  TrainingOptions options = SmallOptions();  // seven rows: shares of different sizes
  options.max_steps = kSteps;
  options.micro_batch_size = 2;
  options.objective.label_dropout = 0.3;
  options.objective.timestep_sampling = TimestepSampling::kLossSecondMoment;
  const TinyNetworkOptions network = {.num_class_embeds = 4};
  const auto alone = Make(options, network);
  const std::vector<StepReport> expected = Train(*alone, kSteps);

  const auto runs = TrainOnRanks(
      GetParam(), [&](int) { return TinySetup(network, options); }, kSteps);
  for (const RankRun& run : runs) {
    EXPECT_TRUE(run.status.ok()) << run.status;
    ASSERT_EQ(run.reports.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_NEAR(run.reports[i].loss, expected[i].loss, 1e-5) << "step " << i + 1;
      EXPECT_NEAR(run.reports[i].gradient_norm, expected[i].gradient_norm, 1e-5);
    }
    EXPECT_TRUE(Close(run.end.tensors, SnapshotOf(*alone).tensors, 1e-4, 1e-5));
    EXPECT_TRUE(BitEqual(run.end.tensors, runs[0].end.tensors)) << "ranks agree bit for bit";
  }
}

TEST(TrainerRanksOfAUNet, TheirLossesAreThoseOfOneRank) {
  const UNet2DConfig config = ParseUNet2DConfig(R"({"sample_size": 8, "in_channels": 1,
      "out_channels": 1, "block_out_channels": [8, 16], "norm_num_groups": 4,
      "layers_per_block": 1, "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
      "up_block_types": ["AttnUpBlock2D", "UpBlock2D"]})")
                                  .value();
  TrainingOptions options;
  options.batch_size = 6;
  options.micro_batch_size = 2;
  options.max_steps = 4;
  const auto setup = [&](int) {
    Trainer::Setup made = TinySetup({.height = 8, .width = 8}, options);
    made.weights = InitializeUNet2D(config, 1);
    made.binder = [config](const StateDict& parameters, at::ScalarType dtype) {
      return BindUNet2D(config, parameters, dtype, {.batch_invariant = false});
    };
    return made;
  };
  at::set_num_threads(1);
  const std::vector<StepReport> expected = Train(*Make(setup(0)), options.max_steps);
  const auto runs = TrainOnRanks(2, setup, options.max_steps);
  for (const RankRun& run : runs) {
    ASSERT_EQ(run.reports.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_NEAR(run.reports[i].loss, expected[i].loss, 1e-5 * expected[i].loss);
    }
    EXPECT_TRUE(BitEqual(run.end.tensors, runs[0].end.tensors));
  }
}

TEST(TrainerRanks, ContinueFromASnapshotOfOneRank) {
  TrainingOptions options = SmallOptions();
  options.max_steps = 12;
  const auto alone = Make(options);
  Train(*alone, 5);
  const TrainingSnapshot middle = SnapshotOf(*alone);
  const std::vector<StepReport> expected = Train(*alone, 7);
  const auto runs = TrainOnRanks(
      2, [&](int) { return TinySetup({}, options); }, 12, &middle);
  ASSERT_EQ(runs[1].reports.size(), 7u);
  for (size_t i = 0; i < 7; ++i) {
    EXPECT_NEAR(runs[1].reports[i].loss, expected[i].loss, 1e-5);
  }
}

TEST(TrainerRanks, OthersLearnThatTheLeaderHasEndedTheRun) {
  TrainingOptions options = SmallOptions();
  options.max_steps = 100;
  const auto runs = TrainOnRanks(
      3, [&](int) { return TinySetup({}, options); }, /*steps=*/3);
  for (const int rank : {1, 2}) {
    EXPECT_TRUE(absl::IsCancelled(runs[rank].status)) << runs[rank].status;
    EXPECT_EQ(runs[rank].end.step, 3);
  }
}

TEST(TrainerRanks, OthersLearnThatTheJobIsFinished) {
  TrainingOptions options = SmallOptions();
  options.max_steps = 100;
  RunRanks(2, [&](std::unique_ptr<RankGroup> group) {
    const Trainer::Setup setup = TinySetup({}, options);
    if (group->rank() == 1) {
      EXPECT_TRUE(absl::IsOutOfRange(TrainAsRank(setup, std::move(group), 100).status));
      return;
    }
    const auto trainer = Make(setup);
    trainer->TrainWith(std::move(group));
    EXPECT_TRUE(RunSteps(*trainer, 2).ok());
    trainer->SetFinished();
  });
}

TEST(TrainerRanks, ARankThatLeavesFinishesItsStep) {
  TrainingOptions options = SmallOptions();
  options.max_steps = 100;
  RunRanks(3, [&](std::unique_ptr<RankGroup> group) {
    if (group->rank() == 2) group->Leave();
    const Trainer::Setup setup = TinySetup({}, options);
    if (group->rank() != 0) {
      const RankRun run = TrainAsRank(setup, std::move(group), 100);
      EXPECT_EQ(run.reports.size(), 1u);
      EXPECT_TRUE(absl::IsCancelled(run.status)) << run.status;
      return;
    }
    const auto trainer = Make(setup);
    trainer->TrainWith(std::move(group));
    EXPECT_FALSE(trainer->rank_leaves());
    EXPECT_TRUE(RunSteps(*trainer, 1).ok());
    EXPECT_TRUE(trainer->rank_leaves());
  });
}

TEST(TrainerRanks, AStepThatIsNotFiniteIsSkippedByAll) {
  TrainingOptions options = SmallOptions();
  options.max_steps = 3;
  const auto runs = TrainOnRanks(
      2,
      [&](int rank) {
        return TinySetup({.hook =
                              [rank](const TinyNetworkCall& call) {
                                const bool spoil = rank == 1 && call.number == 1;
                                return spoil ? std::numeric_limits<float>::quiet_NaN() : 1.0F;
                              }},
                         options);
      },
      3);
  for (const RankRun& run : runs) {
    ASSERT_EQ(run.reports.size(), 3u) << run.status;
    EXPECT_TRUE(run.reports[0].skipped);
    EXPECT_FALSE(run.reports[1].skipped);
    EXPECT_TRUE(BitEqual(run.end.tensors, runs[0].end.tensors));
  }
}

TEST(TrainerRanks, ARankThatFailsEndsTheRunOfAll) {
  TrainingOptions options = SmallOptions();
  options.max_steps = 100;
  const auto runs = TrainOnRanks(
      3,
      [&](int rank) {
        return TinySetup({.hook =
                              [rank](const TinyNetworkCall& call) {
                                if (rank == 2 && call.number > 10)
                                  throw std::runtime_error("no memory");
                                return 1.0F;
                              }},
                         options);
      },
      100);
  EXPECT_TRUE(absl::IsInternal(runs[2].status)) << runs[2].status;
  EXPECT_NE(GetErrorReason(runs[2].status), kRankLostReason) << "it is its own fault";
  for (const int rank : {0, 1}) {
    EXPECT_EQ(GetErrorReason(runs[rank].status), kRankLostReason) << runs[rank].status;
  }
}

// The leader may ask its data set again; the others wait.
TEST(TrainerRanks, TheLeadersDataSetMayFailForAWhile) {
  TrainingOptions options = SmallOptions();
  options.max_steps = 2;
  RunRanks(2, [&](std::unique_ptr<RankGroup> group) {
    Trainer::Setup setup = TinySetup({}, options);
    if (group->rank() == 1) {
      const RankRun run = TrainAsRank(setup, std::move(group), 2);
      EXPECT_EQ(run.reports.size(), 2u) << run.status;
      return;
    }
    auto batches = std::make_shared<FakeBatches>(1, 4, 4, 0);
    setup.batches = batches;
    const auto trainer = Make(setup);
    trainer->TrainWith(std::move(group));
    batches->FailNext(absl::UnavailableError("the disk is away"));
    EXPECT_TRUE(absl::IsUnavailable(trainer->RunSlice().status()));
    EXPECT_TRUE(RunSteps(*trainer, 2).ok());
  });
}

}  // namespace
}  // namespace denoise
