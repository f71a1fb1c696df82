#include "server/jobs/runs/run_progress.h"

#include <google/protobuf/util/time_util.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

namespace denoise {
namespace {

const RunFacts kFacts = {.max_steps = 100, .batch_size = 8, .pictures = 40};

StepReport Step(int64_t step, double loss) {
  return {.step = step, .loss = loss, .learning_rate = 1e-3, .gradient_norm = 2};
}

absl::Time At(double seconds) { return absl::UnixEpoch() + absl::Seconds(seconds); }

TEST(RunProgress, LossesAreMeansOverTheStepsSinceTheLastMessage) {
  RunProgress progress(kFacts);
  progress.AddStep(Step(1, 4));
  progress.AddStep(Step(2, 2));
  EXPECT_EQ(progress.Take(Step(2, 2), 0, At(0)).loss(), 3);
  progress.AddStep(Step(3, 7));

  const auto message = progress.Take(Step(3, 7), 5, At(0));

  EXPECT_EQ(message.step(), 3);
  EXPECT_EQ(message.loss(), 7);
  EXPECT_EQ(message.learning_rate(), 1e-3);
  EXPECT_EQ(message.gradient_norm(), 2);
  EXPECT_EQ(message.non_finite_steps(), 5);
  EXPECT_EQ(message.epochs(), 3 * 8 / 40.);
  EXPECT_FALSE(message.has_simple_loss());
}

TEST(RunProgress, SkippedStepsHaveNoLoss) {
  RunProgress progress(kFacts);
  StepReport skipped = Step(2, std::nan(""));
  skipped.skipped = true;
  progress.AddStep(Step(1, 4));
  progress.AddStep(skipped);
  EXPECT_EQ(progress.Take(skipped, 1, At(0)).loss(), 4);
  progress.AddStep(skipped);
  EXPECT_TRUE(std::isnan(progress.Take(skipped, 2, At(0)).loss()));
}

TEST(RunProgress, PartsOfTheLossAreMeansToo) {
  RunProgress progress(kFacts);
  StepReport report = Step(1, 4);
  report.simple_loss = 1;
  report.vlb_loss = 10;
  progress.AddStep(report);
  report.simple_loss = 3;
  report.vlb_loss = 20;
  progress.AddStep(report);

  const auto message = progress.Take(report, 0, At(0));

  EXPECT_EQ(message.simple_loss(), 2);
  EXPECT_EQ(message.vlb_loss(), 15);
}

TEST(RunProgress, SpeedIsOfTheDeviceAndTimeLeftOfTheClock) {
  RunProgress progress(kFacts);
  progress.AddStep(Step(1, 1));
  EXPECT_FALSE(progress.Take(Step(1, 1), 0, At(100)).has_time_left());
  for (int step = 2; step <= 5; ++step) {
    progress.AddTime(absl::Seconds(0.5));
    progress.AddStep(Step(step, 1));
  }

  const auto message = progress.Take(Step(5, 1), 0, At(108));

  EXPECT_EQ(message.pictures_per_second(), 16);             // 4 steps of 8 in 2 seconds
  EXPECT_EQ(message.time_left().seconds(), (100 - 5) * 2);  // generation took the rest
}

TEST(RunProgress, ARunThatGoesOnTellsTheSameLosses) {
  RunProgress undisturbed(kFacts), stopped(kFacts), resumed(kFacts);
  for (RunProgress* progress : {&undisturbed, &stopped}) {
    progress->AddStep(Step(1, 0.1));
    progress->AddStep(Step(2, 0.7));
  }

  const auto trainer = resumed.Decode(stopped.Encode(R"({"of": "the trainer"})"));

  ASSERT_TRUE(trainer.ok()) << trainer.status();
  EXPECT_EQ(*trainer, R"({"of": "the trainer"})");
  undisturbed.AddStep(Step(3, 1.0 / 3));
  resumed.AddStep(Step(3, 1.0 / 3));
  EXPECT_EQ(resumed.Take(Step(3, 0), 0, At(0)).loss(),
            undisturbed.Take(Step(3, 0), 0, At(0)).loss());
}

TEST(RunProgress, TimeTrainedIsKept) {
  RunFacts facts = kFacts;
  facts.max_duration = absl::Seconds(10);
  RunProgress first(facts), second(facts);
  first.AddTime(absl::Seconds(4));
  first.Take(Step(1, 1), 0, At(0));
  first.AddTime(absl::Seconds(3));
  ASSERT_TRUE(second.Decode(first.Encode("")).ok());

  second.AddTime(absl::Seconds(2));
  EXPECT_FALSE(second.TimeIsUp());
  second.AddTime(absl::Seconds(1));
  EXPECT_TRUE(second.TimeIsUp());
}

TEST(RunProgress, WhatIsNotItsOwnIsDataLoss) {
  for (const char* json : {"", "[]", "{\"steps\": -1}", "{\"trainer\": 7}", "{\"other\": 1}"}) {
    EXPECT_EQ(RunProgress(kFacts).Decode(json).status().code(), absl::StatusCode::kDataLoss)
        << json;
  }
}

TEST(RunProgress, TimeLeftIsOneThatAClientCanRead) {
  RunProgress progress({.max_steps = std::numeric_limits<int64_t>::max(),
                        .batch_size = 1,
                        .pictures = 1,
                        .max_duration = absl::InfiniteDuration()});
  const absl::Time begin = absl::FromUnixSeconds(1);
  progress.Take({.step = 1}, 0, begin);
  progress.AddStep({.step = 2});
  const auto message = progress.Take({.step = 2}, 0, begin + absl::Hours(1));
  EXPECT_EQ(message.time_left().seconds(), google::protobuf::util::TimeUtil::kDurationMaxSeconds);
}

}  // namespace
}  // namespace denoise
