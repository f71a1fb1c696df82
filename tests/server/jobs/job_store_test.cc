#include "server/jobs/job_store.h"

#include <SQLiteCpp/Statement.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/base/error_details.h"
#include "server/jobs/data_set_rows.h"
#include "tests/server/jobs/state_testing.h"

namespace denoise {
namespace {

using denoised::v1::Dataset;
using denoised::v1::TrainingEvent;
using denoised::v1::TrainingJob;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class JobStoreTest : public ::testing::Test {
 protected:
  JobStore& jobs() { return open_->jobs; }
  FakeClock& clock() { return open_->clock; }

  // What the next start of the server finds.
  void Reopen() {
    open_.reset();
    open_ = std::make_unique<OpenState>(temp_.path() / "state");
  }

  int64_t Create(const std::string& request_id = "", int priority = 0) {
    JobStore::NewJob job = NewJob(request_id);
    job.job.set_priority(priority);
    const auto created = jobs().Create(job);
    EXPECT_TRUE(created.ok()) << created.status();
    return job.id;
  }

  JobStore::NewJob NewJob(const std::string& request_id = "") {
    JobStore::NewJob job;
    job.id = *jobs().ReserveId();
    job.request_id = request_id;
    job.request_hash = "hash of " + request_id;
    job.job.mutable_training()->set_max_steps(1000);
    job.job.set_steps_total(1000);
    (*job.job.mutable_labels())["team"] = "vision";
    job.max_waiting = 100;
    return job;
  }

  std::vector<TrainingEvent> Events(int64_t id, int64_t after = 0) {
    const auto events = jobs().EventsAfter(id, after, 1000);
    EXPECT_TRUE(events.ok()) << events.status();
    return events->events;
  }

  int64_t MakeDataSet(Dataset::State state) {
    return *open_->database->Write([&](SQLite::Database& connection) -> absl::StatusOr<int64_t> {
      denoised::v1::UploadHeader header;
      header.set_name("datasets/emoji");
      header.set_sha256("hash");
      const int64_t id = InsertDataSet(connection, header, absl::UnixEpoch());
      WriteDataSetState(connection, id, state, "", nullptr);
      return id;
    });
  }

  TempDir temp_;
  std::unique_ptr<OpenState> open_ = std::make_unique<OpenState>(temp_.path() / "state");
};

TrainingEvent Progress(int64_t step, double loss = 0.5) {
  TrainingEvent event;
  event.mutable_progress()->set_step(step);
  event.mutable_progress()->set_loss(loss);
  return event;
}

TrainingEvent Checkpoint(int64_t step) {
  TrainingEvent event;
  event.mutable_checkpoint()->set_step(step);
  return event;
}

TrainingEvent Notice(const std::string& text) {
  TrainingEvent event;
  event.set_notice(text);
  return event;
}

TEST_F(JobStoreTest, ANewJobIsQueuedAndSaysSo) {
  const int64_t id = Create();
  Reopen();

  const TrainingJob job = *jobs().Get(id);

  EXPECT_EQ(job.name(), "trainingJobs/1");
  EXPECT_EQ(job.state(), TrainingJob::QUEUED);
  EXPECT_EQ(job.training().max_steps(), 1000);
  EXPECT_EQ(job.labels().at("team"), "vision");
  EXPECT_EQ(job.steps_total(), 1000);
  EXPECT_EQ(job.create_time().seconds(), 1);
  EXPECT_FALSE(job.has_start_time());
  EXPECT_FALSE(job.has_progress());
  EXPECT_EQ(job.latest_checkpoint(), "");
  const auto events = Events(id);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].sequence(), 1);
  EXPECT_EQ(events[0].state_change().state(), TrainingJob::QUEUED);
}

TEST_F(JobStoreTest, AJobThatIsMissingIsNamed) {
  const absl::Status status = jobs().Get(7).status();

  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(GetResource(status)->name, "trainingJobs/7");
  EXPECT_EQ(jobs().Apply(7, JobAction::kCancel).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(jobs().AddEvent(7, Notice("x")).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(jobs().EventsAfter(7, 0, 1).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(jobs().Delete(7).code(), absl::StatusCode::kNotFound);
}

TEST_F(JobStoreTest, IdsAreNeverUsedAgain) {
  const int64_t first = Create();
  ASSERT_TRUE(jobs().Apply(first, JobAction::kCancel).ok());
  ASSERT_TRUE(jobs().Delete(first).ok());
  Reopen();

  EXPECT_EQ(Create(), first + 1);
}

TEST_F(JobStoreTest, ARequestThatIsRepeatedFindsItsJob) {
  const int64_t id = Create("retry");
  Reopen();

  EXPECT_EQ((*jobs().FindRequest("retry", "hash of retry"))->name(), jobs().Get(id)->name());
  EXPECT_EQ(jobs().FindRequest("retry", "another").status().code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_FALSE(jobs().FindRequest("other", "hash of retry")->has_value());
  EXPECT_EQ(jobs().Create(NewJob("retry")).status().code(), absl::StatusCode::kAlreadyExists);
}

TEST_F(JobStoreTest, RequestsWithoutAnIdAreNeverTheSame) {
  Create("");
  Create("");

  EXPECT_EQ(jobs().List({}, 0, 10)->jobs.size(), 2u);
  EXPECT_FALSE(jobs().FindRequest("", "hash of ")->has_value());
}

TEST_F(JobStoreTest, AsManyWaitAsMay) {
  Create();
  JobStore::NewJob second = NewJob();
  second.max_waiting = 1;

  const absl::Status refused = jobs().Create(second).status();

  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(GetQuotaViolation(refused)->subject, "trainingJobs");
  ASSERT_TRUE(jobs().Apply(1, JobAction::kStart).ok());
  EXPECT_TRUE(jobs().Create(second).ok());
}

TEST_F(JobStoreTest, EveryStateComesWithItsEventAndItsTimes) {
  const int64_t id = Create();
  clock().Advance(absl::Seconds(10));
  ASSERT_TRUE(jobs().Apply(id, JobAction::kStart).ok());
  clock().Advance(absl::Seconds(10));
  ASSERT_TRUE(jobs().Apply(id, JobAction::kPause).ok());
  ASSERT_TRUE(jobs().Apply(id, JobAction::kStop, "asked to").ok());
  ASSERT_TRUE(jobs().Apply(id, JobAction::kResume).ok());
  ASSERT_TRUE(jobs().Apply(id, JobAction::kStart).ok());
  clock().Advance(absl::Seconds(10));
  ASSERT_TRUE(jobs().Apply(id, JobAction::kFail, "a reason").ok());
  Reopen();

  std::vector<TrainingJob::State> states;
  for (const TrainingEvent& event : Events(id)) {
    EXPECT_EQ(event.sequence(), static_cast<int64_t>(states.size()) + 1);
    states.push_back(event.state_change().state());
  }
  EXPECT_THAT(states, ElementsAre(TrainingJob::QUEUED, TrainingJob::RUNNING, TrainingJob::PAUSED,
                                  TrainingJob::QUEUED, TrainingJob::RUNNING, TrainingJob::FAILED));
  const TrainingJob job = *jobs().Get(id);
  EXPECT_EQ(job.state_reason(), "a reason");
  EXPECT_EQ(job.start_time().seconds(), 11);  // the first
  EXPECT_EQ(job.end_time().seconds(), 31);
  EXPECT_EQ(Events(id).back().state_change().reason(), "a reason");
}

TEST_F(JobStoreTest, WhatIsRefusedChangesNothing) {
  const int64_t id = Create();
  ASSERT_TRUE(jobs().Apply(id, JobAction::kCancel).ok());

  EXPECT_EQ(jobs().Apply(id, JobAction::kResume).status().code(),
            absl::StatusCode::kFailedPrecondition);

  EXPECT_EQ(jobs().Status(id)->state, TrainingJob::CANCELLED);
  EXPECT_EQ(Events(id).size(), 2u);
}

TEST_F(JobStoreTest, AWishToPauseIsKept) {
  const int64_t id = Create();
  ASSERT_TRUE(jobs().Apply(id, JobAction::kStart).ok());
  ASSERT_TRUE(jobs().Apply(id, JobAction::kPause).ok());
  Reopen();

  EXPECT_EQ(jobs().Status(id)->state, TrainingJob::RUNNING);
  EXPECT_TRUE(jobs().Status(id)->pause_requested);
  EXPECT_EQ(Events(id).size(), 2u);
}

TEST_F(JobStoreTest, ARunThatRepeatsStepsAddsNothingTwice) {
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

TEST_F(JobStoreTest, NoticesMayRepeat) {
  const int64_t id = Create();
  ASSERT_TRUE(jobs().AddEvent(id, Notice("again")).ok());
  ASSERT_TRUE(jobs().AddEvent(id, Notice("again")).ok());

  EXPECT_EQ(Events(id).size(), 3u);
}

TEST_F(JobStoreTest, AJobShowsItsNewestProgressCheckpointAndEvaluation) {
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
  EXPECT_FALSE(jobs().List({}, 0, 10)->jobs[0].evaluation_result().has_nearest_neighbours_sheet());
}

TEST_F(JobStoreTest, ACheckpointThatIsRepeatedIsTheLatestAgain) {
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

TEST_F(JobStoreTest, EventsAreReadAtAWatchersPace) {
  const int64_t id = Create();
  for (int step = 1; step <= 10; ++step) ASSERT_TRUE(jobs().AddEvent(id, Progress(step)).ok());

  const auto first = *jobs().EventsAfter(id, 0, 4);
  const auto rest = *jobs().EventsAfter(id, first.events.back().sequence(), 100);

  EXPECT_EQ(first.events.size(), 4u);
  EXPECT_EQ(rest.events.size(), 7u);
  EXPECT_EQ(rest.events.front().sequence(), 5);
  EXPECT_FALSE(rest.over);
}

TEST_F(JobStoreTest, LargeEventsAreReadAFewAtATime) {
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

TEST_F(JobStoreTest, AWatchIsOverOnceTheLastEventOfAJobThatIsOverWasRead) {
  const int64_t id = Create();
  ASSERT_TRUE(jobs().Apply(id, JobAction::kStart).ok());
  EXPECT_FALSE(jobs().EventsAfter(id, 2, 10)->over);
  ASSERT_TRUE(jobs().Apply(id, JobAction::kSucceed).ok());

  EXPECT_FALSE(jobs().EventsAfter(id, 0, 2)->over);
  EXPECT_TRUE(jobs().EventsAfter(id, 2, 10)->over);
  EXPECT_TRUE(jobs().EventsAfter(id, 3, 10)->over);
  EXPECT_THAT(jobs().EventsAfter(id, 3, 10)->events, IsEmpty());
}

TEST_F(JobStoreTest, WatchersAreWokenAfterTheWrite) {
  const int64_t id = Create();
  std::vector<int64_t> seen;
  const auto subscription = open_->feed.Subscribe(id, [&] { seen.push_back(1); });

  ASSERT_TRUE(jobs().AddEvent(id, Progress(1)).ok());
  ASSERT_TRUE(jobs().Apply(id, JobAction::kCancel).ok());
  EXPECT_FALSE(jobs().Apply(id, JobAction::kCancel).ok());
  ASSERT_TRUE(jobs().Delete(id).ok());

  EXPECT_EQ(seen.size(), 3u);
}

TEST_F(JobStoreTest, AListIsTheLatestFirstPageByPage) {
  for (int i = 0; i < 5; ++i) Create();

  const auto first = *jobs().List({}, 0, 2);
  const auto second = *jobs().List({}, 4, 2);
  const auto third = *jobs().List({}, 2, 2);

  EXPECT_EQ(first.jobs[0].name(), "trainingJobs/5");
  EXPECT_EQ(first.jobs[1].name(), "trainingJobs/4");
  EXPECT_TRUE(first.more);
  EXPECT_EQ(second.jobs[0].name(), "trainingJobs/3");
  EXPECT_TRUE(second.more);
  EXPECT_EQ(third.jobs.size(), 1u);
  EXPECT_FALSE(third.more);
}

TEST_F(JobStoreTest, APageIsBoundedByItsBytesToo) {
  for (int i = 0; i < 3; ++i) {
    JobStore::NewJob job = NewJob();
    (*job.job.mutable_labels())["large"] = std::string(3 << 19, 'x');
    ASSERT_TRUE(jobs().Create(job).ok());
  }

  const auto page = *jobs().List({}, 0, 10);

  EXPECT_EQ(page.jobs.size(), 1u);
  EXPECT_TRUE(page.more);
}

TEST_F(JobStoreTest, AListCanBeOfSomeStates) {
  for (int i = 0; i < 4; ++i) Create();
  ASSERT_TRUE(jobs().Apply(1, JobAction::kStart).ok());
  ASSERT_TRUE(jobs().Apply(2, JobAction::kCancel).ok());

  const auto page = *jobs().List({TrainingJob::RUNNING, TrainingJob::CANCELLED}, 0, 10);

  ASSERT_EQ(page.jobs.size(), 2u);
  EXPECT_EQ(page.jobs[0].state(), TrainingJob::CANCELLED);
  EXPECT_EQ(page.jobs[1].state(), TrainingJob::RUNNING);
}

TEST_F(JobStoreTest, JobsRunByPriorityThenAge) {
  Create("", 0);
  Create("", 5);
  Create("", 5);
  Create("", -1);

  EXPECT_THAT(*jobs().InState(TrainingJob::QUEUED), ElementsAre(2, 3, 1, 4));
}

TEST_F(JobStoreTest, JobsThatWaitForRoomAreKnown) {
  Create();
  Create();
  ASSERT_TRUE(jobs().Apply(1, JobAction::kStart).ok());
  ASSERT_TRUE(jobs().Apply(1, JobAction::kDiskFull, "the disk is full").ok());
  ASSERT_TRUE(jobs().Apply(2, JobAction::kPause).ok());
  Reopen();

  EXPECT_THAT(*jobs().WaitingForRoom(), ElementsAre(1));
  EXPECT_EQ(jobs().Get(1)->state_reason(), "the disk is full");
}

TEST_F(JobStoreTest, OnlyAJobThatIsOverIsDeleted) {
  const int64_t id = Create("request");
  EXPECT_EQ(jobs().Delete(id).code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(jobs().Apply(id, JobAction::kCancel).ok());
  ASSERT_TRUE(jobs().Delete(id).ok());
  Reopen();

  EXPECT_EQ(jobs().Get(id).status().code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(*jobs().Exists(id));
  EXPECT_FALSE(jobs().FindRequest("request", "hash of request")->has_value());
}

TEST_F(JobStoreTest, AJobNeedsDataSetsThatAreReady) {
  JobStore::NewJob job = NewJob();
  job.data_sets = {MakeDataSet(Dataset::READING)};

  EXPECT_EQ(jobs().Create(job).status().code(), absl::StatusCode::kFailedPrecondition);

  EXPECT_EQ(jobs().Get(job.id).status().code(), absl::StatusCode::kNotFound);
}

// The state of a machine that loses its power after each write has everything until then.
TEST_F(JobStoreTest, NothingAcknowledgedIsLostWheneverTheMachineDies) {
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

TEST_F(JobStoreTest, WritersOnManyThreadsLeaveNoGaps) {
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

TEST_F(JobStoreTest, ARowThatIsNoMessageIsDataLoss) {
  const int64_t id = Create();
  open_->database
      ->Write([](SQLite::Database& connection) {
        connection.exec("UPDATE jobs SET job = x'FFFFFF'; UPDATE events SET event = x'FFFFFF'");
        return absl::OkStatus();
      })
      .IgnoreError();

  EXPECT_EQ(jobs().Get(id).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(jobs().EventsAfter(id, 0, 10).status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace denoise
