#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "server/jobs/store/job_store.h"
#include "tests/server/jobs/store/job_store_testing.h"

namespace denoise {
namespace {

using JobEventsTest = JobStoreTest;

using denoised::v1::TrainingEvent;
using denoised::v1::TrainingJob;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST_F(JobEventsTest, ARunThatRepeatsStepsAddsNothingTwice) {
  const int64_t id = Create();
  ASSERT_TRUE(jobs().AddEvent(id, Progress(10)).ok());
  ASSERT_TRUE(jobs().AddEvent(id, Checkpoint(10)).ok());
  ASSERT_TRUE(jobs().AddEvent(id, Progress(20)).ok());
  Reopen();

  ASSERT_TRUE(jobs().AddEvent(id, Progress(20)).ok());
  ASSERT_TRUE(jobs().AddEvent(id, Checkpoint(10)).ok());
  ASSERT_TRUE(jobs().AddEvent(id, Progress(30)).ok());

  std::vector<int64_t> sequences;
  for (const TrainingEvent& event : Events(id)) sequences.push_back(event.sequence());
  EXPECT_THAT(sequences, ElementsAre(1, 2, 3, 4, 5));
  EXPECT_EQ(Events(id)[4].progress().step(), 30);
}

TEST_F(JobEventsTest, NoticesMayRepeat) {
  const int64_t id = Create();
  ASSERT_TRUE(jobs().AddEvent(id, Notice("again")).ok());
  ASSERT_TRUE(jobs().AddEvent(id, Notice("again")).ok());

  EXPECT_EQ(Events(id).size(), 3u);
}

TEST_F(JobEventsTest, ARunningJobThatBeginsOrEndsToWaitIsNews) {
  const int64_t id = Create();
  ASSERT_TRUE(jobs().Apply(id, JobAction::kStart).ok());
  for (const char* reason : {"waits for a rank", "waits for a rank", ""}) {
    ASSERT_TRUE(jobs().Apply(id, JobAction::kWait, reason).ok());
    EXPECT_EQ(jobs().Get(id)->state_reason(), reason);
  }

  std::vector<std::string> reasons;
  for (const TrainingEvent& event : Events(id)) {
    if (event.state_change().state() != TrainingJob::RUNNING) continue;
    reasons.push_back(event.state_change().reason());
  }
  EXPECT_THAT(reasons, ElementsAre("", "waits for a rank", ""));
}

TEST_F(JobEventsTest, AJobShowsItsNewestProgressCheckpointAndEvaluation) {
  const int64_t id = Create();
  TrainingEvent evaluation;
  evaluation.mutable_evaluation()->set_step(20);
  evaluation.mutable_evaluation()->mutable_nearest_neighbours_sheet()->set_data("png");
  ASSERT_TRUE(jobs().AddEvent(id, Progress(10, 0.9)).ok());
  ASSERT_TRUE(jobs().AddEvent(id, Progress(20, 0.4)).ok());
  ASSERT_TRUE(jobs().AddEvent(id, Checkpoint(25)).ok());
  ASSERT_TRUE(jobs().AddEvent(id, evaluation).ok());
  Reopen();

  const TrainingJob job = *jobs().Get(id);

  EXPECT_EQ(job.progress().loss(), 0.4);
  EXPECT_EQ(job.steps_done(), 25);
  EXPECT_EQ(job.latest_checkpoint(), "trainingJobs/1/checkpoints/25");
  EXPECT_EQ(job.evaluation_result().nearest_neighbours_sheet().data(), "png");
  EXPECT_FALSE(
      jobs().List(Anyone(), {}, 0, 10)->jobs[0].evaluation_result().has_nearest_neighbours_sheet());
}

TEST_F(JobEventsTest, ACheckpointThatIsRepeatedIsTheLatestAgain) {
  const int64_t id = Create();
  ASSERT_TRUE(jobs().AddEvent(id, Checkpoint(10)).ok());
  ASSERT_TRUE(jobs().AddEvent(id, Checkpoint(20)).ok());
  ASSERT_TRUE(jobs().SetLatestCheckpoint(id, 10).ok());
  EXPECT_EQ(jobs().Get(id)->latest_checkpoint(), "trainingJobs/1/checkpoints/10");

  ASSERT_TRUE(jobs().AddEvent(id, Checkpoint(20)).ok());

  EXPECT_EQ(jobs().Get(id)->latest_checkpoint(), "trainingJobs/1/checkpoints/20");
  ASSERT_TRUE(jobs().SetLatestCheckpoint(id, std::nullopt).ok());
  EXPECT_EQ(jobs().Get(id)->latest_checkpoint(), "");
}

TEST_F(JobEventsTest, ACheckpointThatWasWrittenLateTakesNoStepBack) {
  const int64_t id = Create();
  ASSERT_TRUE(jobs().AddEvent(id, Progress(30)).ok());
  ASSERT_TRUE(jobs().AddEvent(id, Checkpoint(25)).ok());

  EXPECT_EQ(jobs().Get(id)->steps_done(), 30);
}

TEST_F(JobEventsTest, EventsAreReadAtAWatchersPace) {
  const int64_t id = Create();
  for (int step = 1; step <= 10; ++step) ASSERT_TRUE(jobs().AddEvent(id, Progress(step)).ok());

  const auto first = *jobs().EventsAfter(id, 0, 4);
  const auto rest = *jobs().EventsAfter(id, first.events.back().sequence(), 100);

  EXPECT_EQ(first.events.size(), 4u);
  EXPECT_EQ(rest.events.size(), 7u);
  EXPECT_EQ(rest.events.front().sequence(), 5);
  EXPECT_FALSE(rest.over);
}

TEST_F(JobEventsTest, LargeEventsAreReadAFewAtATime) {
  const int64_t id = Create();
  for (int step = 1; step <= 3; ++step) {
    TrainingEvent grid;
    grid.mutable_sample_grid()->set_step(step);
    grid.mutable_sample_grid()->mutable_image()->set_data(std::string(3 << 20, 'x'));
    ASSERT_TRUE(jobs().AddEvent(id, grid).ok());
  }

  EXPECT_EQ(Events(id, 0).size(), 2u);  // the first, of the state, and one grid
  EXPECT_EQ(Events(id, 2).size(), 1u);
}

TEST_F(JobEventsTest, AWatchIsOverOnceTheLastEventOfAJobThatIsOverWasRead) {
  const int64_t id = Create();
  ASSERT_TRUE(jobs().Apply(id, JobAction::kStart).ok());
  EXPECT_FALSE(jobs().EventsAfter(id, 2, 10)->over);
  ASSERT_TRUE(jobs().Apply(id, JobAction::kSucceed).ok());

  EXPECT_FALSE(jobs().EventsAfter(id, 0, 2)->over);
  EXPECT_TRUE(jobs().EventsAfter(id, 2, 10)->over);
  EXPECT_TRUE(jobs().EventsAfter(id, 3, 10)->over);
  EXPECT_THAT(jobs().EventsAfter(id, 3, 10)->events, IsEmpty());
}

TEST_F(JobEventsTest, WatchersAreWokenAfterTheWrite) {
  const int64_t id = Create();
  std::vector<int64_t> seen;
  const auto subscription = open_->feed.Subscribe(id, [&] { seen.push_back(1); });

  ASSERT_TRUE(jobs().AddEvent(id, Progress(1)).ok());
  ASSERT_TRUE(jobs().Apply(id, JobAction::kCancel).ok());
  EXPECT_FALSE(jobs().Apply(id, JobAction::kCancel).ok());
  ASSERT_TRUE(jobs().Delete(id).ok());

  EXPECT_EQ(seen.size(), 3u);
}

// The state of a machine that loses its power after each write has everything until then.
TEST_F(JobEventsTest, NothingAcknowledgedIsLostWheneverTheMachineDies) {
  const int64_t id = Create();
  for (int step = 1; step <= 5; ++step) {
    ASSERT_TRUE(jobs().AddEvent(id, Progress(step)).ok());
    const auto copy = temp_.path() / std::to_string(step);
    CopyState(temp_.path() / "state", copy);
    const OpenState after_crash(copy);
    const auto events = after_crash.jobs.EventsAfter(id, 0, 100);
    ASSERT_TRUE(events.ok()) << events.status();
    EXPECT_EQ(events->events.size(), static_cast<size_t>(step) + 1);
    EXPECT_EQ(events->events.back().progress().step(), step);
  }
}

TEST_F(JobEventsTest, WritersOnManyThreadsLeaveNoGaps) {
  const int64_t id = Create();
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (int step = 0; step < 10; ++step) {
        EXPECT_TRUE(jobs().AddEvent(id, Progress(step + thread % 2 * 100)).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  const auto events = Events(id);
  ASSERT_EQ(events.size(), 21u);  // two threads each wrote the same 10
  for (size_t i = 0; i < events.size(); ++i) {
    EXPECT_EQ(events[i].sequence(), static_cast<int64_t>(i) + 1);
  }
}

TEST_F(JobEventsTest, AListHasEvaluationsWithoutTheirSheets) {
  const int64_t id = Create();
  TrainingEvent evaluation;
  evaluation.mutable_evaluation()->set_step(20);
  evaluation.mutable_evaluation()->set_recall(0.25);
  evaluation.mutable_evaluation()->mutable_nearest_neighbours_sheet()->set_data("png");
  ASSERT_TRUE(jobs().AddEvent(id, evaluation).ok());
  const auto listed = [&] {
    return jobs().List(Anyone(), {}, 0, 10)->jobs.at(0).evaluation_result();
  };

  EXPECT_EQ(listed().recall(), 0.25);
  EXPECT_FALSE(listed().has_nearest_neighbours_sheet());

  Execute("UPDATE jobs SET evaluation = NULL");  // as an older server has left it
  EXPECT_EQ(listed().recall(), 0.25);
  EXPECT_FALSE(listed().has_nearest_neighbours_sheet());

  Execute(
      "UPDATE jobs SET evaluation = x'11000000000000F03F'; UPDATE events SET event = x'FFFFFF' "
      "WHERE step = 20");
  EXPECT_EQ(listed().frechet_distance(), 1) << "the event was read";
}

TEST_F(JobEventsTest, RunsThatNeverEndAreCountedUntilAFurtherCheckpoint) {
  const int64_t id = Create();
  ASSERT_TRUE(jobs().AddEvent(id, Checkpoint(10)).ok());
  EXPECT_EQ(*jobs().BeginRun(id), 0);
  Reopen();
  EXPECT_EQ(*jobs().BeginRun(id), 1);
  ASSERT_TRUE(jobs().AddEvent(id, Progress(19)).ok());
  ASSERT_TRUE(jobs().AddEvent(id, Checkpoint(10)).ok());  // that it went on from
  Reopen();
  EXPECT_EQ(*jobs().BeginRun(id), 2);

  ASSERT_TRUE(jobs().AddEvent(id, Checkpoint(20)).ok());

  Reopen();
  EXPECT_EQ(*jobs().BeginRun(id), 0);
  EXPECT_EQ(jobs().BeginRun(99).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(JobEventsTest, ARunThatEndsInOrderIsNotCounted) {
  const int64_t id = Create();
  EXPECT_EQ(*jobs().BeginRun(id), 0);
  for (int run = 0; run < 3; ++run) {
    EXPECT_EQ(*jobs().BeginRun(id), 1);
    ASSERT_TRUE(jobs().EndRun(id).ok());
  }
  ASSERT_TRUE(jobs().AddEvent(id, Checkpoint(20)).ok());
  ASSERT_TRUE(jobs().EndRun(id).ok());

  EXPECT_EQ(*jobs().BeginRun(id), 0);
}

TEST_F(JobEventsTest, StepsThatWereRolledBackAreToldAnew) {
  const int64_t id = Create();
  const auto evaluation = [](int64_t step, double distance) {
    TrainingEvent event;
    event.mutable_evaluation()->set_step(step);
    event.mutable_evaluation()->set_frechet_distance(distance);
    return event;
  };
  ASSERT_TRUE(jobs().AddEvent(id, evaluation(10, 3)).ok());
  ASSERT_TRUE(jobs().AddEvent(id, Checkpoint(10)).ok());
  ASSERT_TRUE(jobs().AddEvent(id, Progress(20, 0.9)).ok());
  ASSERT_TRUE(jobs().AddEvent(id, evaluation(20, 99)).ok());

  EXPECT_TRUE(*jobs().RollBackOnce(id, "back"));

  EXPECT_EQ(jobs().Get(id)->steps_done(), 10);
  EXPECT_FALSE(jobs().Get(id)->has_progress());
  EXPECT_EQ(jobs().Get(id)->evaluation_result().frechet_distance(), 3);
  EXPECT_EQ(jobs().List(Anyone(), {}, 0, 10)->jobs[0].evaluation_result().frechet_distance(), 3);
  ASSERT_TRUE(jobs().AddEvent(id, Progress(20, 0.5)).ok());
  ASSERT_TRUE(jobs().AddEvent(id, evaluation(20, 2)).ok());
  ASSERT_TRUE(jobs().AddEvent(id, evaluation(20, 1)).ok());  // a repeated step, as ever
  Reopen();
  EXPECT_EQ(jobs().Get(id)->progress().loss(), 0.5);
  EXPECT_EQ(jobs().Get(id)->evaluation_result().frechet_distance(), 2);
  EXPECT_EQ(jobs().List(Anyone(), {}, 0, 10)->jobs[0].evaluation_result().frechet_distance(), 2);
  EXPECT_EQ(Events(id).size(), 8u) << "nothing told is taken back";
}

TEST_F(JobEventsTest, AJobIsRolledBackOnceToItsLatestCheckpoint) {
  const int64_t id = Create();
  const int64_t anew = Create();
  ASSERT_TRUE(jobs().AddEvent(id, Checkpoint(10)).ok());
  EXPECT_EQ(*jobs().RolledBackTo(id), std::nullopt);

  EXPECT_TRUE(*jobs().RollBackOnce(id, "back"));
  EXPECT_TRUE(*jobs().RollBackOnce(anew, "back"));
  ASSERT_TRUE(jobs().AddEvent(id, Checkpoint(20)).ok());
  Reopen();

  EXPECT_FALSE(*jobs().RollBackOnce(id, "again"));
  EXPECT_EQ(*jobs().RolledBackTo(id), 10);
  EXPECT_EQ(*jobs().RolledBackTo(anew), 0);
  EXPECT_EQ(Events(anew).back().notice(), "back");
}

}  // namespace
}  // namespace denoise
