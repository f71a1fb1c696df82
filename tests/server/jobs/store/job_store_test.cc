#include "server/jobs/store/job_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "core/base/error_details.h"
#include "tests/server/jobs/store/job_store_testing.h"

namespace denoise {
namespace {

using denoised::v1::Dataset;
using denoised::v1::TrainingEvent;
using denoised::v1::TrainingJob;
using ::testing::ElementsAre;

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

  EXPECT_EQ((*jobs().FindRequest("", "retry", "hash of retry"))->name(), jobs().Get(id)->name());
  EXPECT_EQ(jobs().FindRequest("", "retry", "another").status().code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_FALSE(jobs().FindRequest("", "other", "hash of retry")->has_value());
  EXPECT_EQ(jobs().Create(NewJob("retry")).status().code(), absl::StatusCode::kAlreadyExists);
}

TEST_F(JobStoreTest, TenantsHaveRequestIdsAndListsOfTheirOwn) {
  const auto create = [this](const std::string& tenant) {
    JobStore::NewJob job = NewJob("retry");
    job.job.set_tenant(tenant);
    return *jobs().Create(job);
  };
  const TrainingJob plain = create(""), acme = create("acme"), globex = create("globex");
  Reopen();

  EXPECT_EQ(*jobs().TenantOf(2), "acme");
  EXPECT_EQ((*jobs().FindRequest("acme", "retry", "hash of retry"))->name(), acme.name());
  EXPECT_EQ((*jobs().FindRequest("", "retry", "hash of retry"))->name(), plain.name());
  EXPECT_FALSE(jobs().FindRequest("initech", "retry", "hash of retry")->has_value());
  const auto listed = [this](const Identity& viewer) {
    std::vector<std::string> names;
    const JobStore::Page page = *jobs().List(viewer, {}, 0, 10);
    for (const TrainingJob& job : page.jobs) names.push_back(job.name());
    return names;
  };
  EXPECT_THAT(listed(IdentityWith("acme", {Scope::kTrain})), ElementsAre(acme.name()));
  EXPECT_THAT(listed(IdentityWith("", {Scope::kTrain})), ElementsAre(plain.name()));
  EXPECT_THAT(listed(IdentityWith("ops", {Scope::kAdmin})),
              ElementsAre(globex.name(), acme.name(), plain.name()));
}

TEST_F(JobStoreTest, RequestsWithoutAnIdAreNeverTheSame) {
  Create("");
  Create("");

  EXPECT_EQ(jobs().List(Anyone(), {}, 0, 10)->jobs.size(), 2u);
  EXPECT_FALSE(jobs().FindRequest("", "", "hash of ")->has_value());
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

TEST_F(JobStoreTest, AListIsTheLatestFirstPageByPage) {
  for (int i = 0; i < 5; ++i) Create();

  const auto first = *jobs().List(Anyone(), {}, 0, 2);
  const auto second = *jobs().List(Anyone(), {}, 4, 2);
  const auto third = *jobs().List(Anyone(), {}, 2, 2);

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

  const auto page = *jobs().List(Anyone(), {}, 0, 10);

  EXPECT_EQ(page.jobs.size(), 1u);
  EXPECT_TRUE(page.more);
}

TEST_F(JobStoreTest, AListCanBeOfSomeStates) {
  for (int i = 0; i < 4; ++i) Create();
  ASSERT_TRUE(jobs().Apply(1, JobAction::kStart).ok());
  ASSERT_TRUE(jobs().Apply(2, JobAction::kCancel).ok());

  const auto page = *jobs().List(Anyone(), {TrainingJob::RUNNING, TrainingJob::CANCELLED}, 0, 10);

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
  EXPECT_FALSE(jobs().FindRequest("", "request", "hash of request")->has_value());
}

TEST_F(JobStoreTest, AJobNeedsDataSetsThatAreReady) {
  JobStore::NewJob job = NewJob();
  job.data_sets = {MakeDataSet(Dataset::READING)};

  EXPECT_EQ(jobs().Create(job).status().code(), absl::StatusCode::kFailedPrecondition);

  EXPECT_EQ(jobs().Get(job.id).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(JobStoreTest, ARowThatIsNoMessageIsDataLoss) {
  const int64_t id = Create();
  Execute("UPDATE jobs SET job = x'FFFFFF'; UPDATE events SET event = x'FFFFFF'");

  EXPECT_EQ(jobs().Get(id).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(jobs().EventsAfter(id, 0, 10).status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace denoise
