// Whatever becomes of the database, no job and no checkpoint is deleted.
#include "server/jobs/job_recovery.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <string>
#include <thread>

#include "server/jobs/store/id_folders.h"
#include "server/jobs/store/resource_names.h"
#include "tests/server/jobs/training_jobs_testing.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class JobRecoveryTest : public TrainingJobsTest {
 protected:
  fs::path state() const { return folder() / "state"; }
  fs::path job(int64_t id) const { return state() / "jobs" / std::to_string(id); }
  void StopServer() { server_.reset(); }

  void LoseDatabase() {
    StopServer();
    for (const char* name : {"state.db", "state.db-wal", "state.db-shm"}) {
      fs::remove(state() / name);
    }
    Start();
    // What was stored of the data set is verified before it can be used.
    while (!server_->data_sets().FindReady("datasets/digits", Anyone()).ok())
      std::this_thread::yield();
  }

  int64_t Checkpoints(const std::string& name) {
    denoised::v1::ListCheckpointsRequest request;
    request.set_parent(name);
    return jobs().ListCheckpoints(request, Anyone())->checkpoints_size();
  }
};

// P11: the database is lost.
TEST_F(JobRecoveryTest, AJobThatWasDoneIsDoneAndCanBePublished) {
  const std::string name = Create(Request(/*max_steps=*/10));
  ASSERT_EQ(WaitFor(name, TrainingJob::SUCCEEDED).state(), TrainingJob::SUCCEEDED);
  ASSERT_TRUE(Publish(name, "before").ok());
  const TrainingJob before = Get(name);
  const int64_t checkpoints = Checkpoints(name);

  LoseDatabase();

  const TrainingJob after = Get(name);
  EXPECT_EQ(after.state(), TrainingJob::SUCCEEDED);
  EXPECT_EQ(after.latest_checkpoint(), before.latest_checkpoint());
  EXPECT_EQ(after.training().SerializeAsString(), before.training().SerializeAsString());
  EXPECT_EQ(after.create_time().seconds(), before.create_time().seconds());
  EXPECT_EQ(Checkpoints(name), checkpoints);
  const auto published = Publish(name, "after");
  ASSERT_TRUE(published.ok()) << published.status();
  EXPECT_TRUE(SameWeights(Weights("before"), Weights("after")));
  EXPECT_EQ(Create(Request(10)), "trainingJobs/2");
}

TEST_F(JobRecoveryTest, AJobThatWasRunningWaitsForItsOwnerAndGoesOnFromItsCheckpoint) {
  const std::string undisturbed = Create(Request(/*max_steps=*/100));
  WaitFor(undisturbed, TrainingJob::SUCCEEDED);
  CreateTrainingJobRequest request = Request(100);
  request.set_request_id("again");
  const std::string name = Create(request);
  WaitForStep(name, 5);

  LoseDatabase();

  EXPECT_EQ(Get(name).state(), TrainingJob::PAUSED);
  EXPECT_THAT(Get(name).state_reason(), HasSubstr("found again"));
  EXPECT_EQ(Create(request), name);  // a retry of its request still finds it
  ASSERT_TRUE(Resume(name).ok());
  EXPECT_EQ(WaitFor(name, TrainingJob::SUCCEEDED).state(), TrainingJob::SUCCEEDED);
  ASSERT_TRUE(Publish(name, "disturbed").ok());
  ASSERT_TRUE(Publish(undisturbed, "undisturbed").ok());
  EXPECT_TRUE(SameWeights(Weights("disturbed"), Weights("undisturbed")));
}

TEST_F(JobRecoveryTest, AJobOfAnotherDatabaseDoesNotTakeItsFolder) {
  const std::string name = Create(Request(/*max_steps=*/10));
  WaitFor(name, TrainingJob::SUCCEEDED);
  StopServer();
  // The same id with other work.
  fs::rename(folder() / "state", temp_.path() / "ours");
  Start();
  Upload();
  CreateTrainingJobRequest other = Request(/*max_steps=*/5);
  other.mutable_training()->set_seed(12);
  ASSERT_EQ(Create(other), name);
  WaitFor(name, TrainingJob::SUCCEEDED);
  StopServer();
  fs::copy_file(state() / "state.db", temp_.path() / "ours" / "state.db",
                fs::copy_options::overwrite_existing);
  fs::remove_all(state());
  fs::rename(temp_.path() / "ours", state());

  Start();

  EXPECT_EQ(Get(name).training().max_steps(), 5);  // a row without files
  EXPECT_EQ(Get("trainingJobs/2").training().max_steps(), 10);
  EXPECT_EQ(Get("trainingJobs/2").state(), TrainingJob::SUCCEEDED);
  EXPECT_TRUE(Publish("trainingJobs/2", "ours").ok());
}

TEST_F(JobRecoveryTest, WhatWasNeverCompleteGoesAndWhatIsNotKnownIsSetAside) {
  StopServer();
  fs::create_directories(CreatingPath(state() / "jobs", 7) / "base");
  fs::create_directories(job(8) / "checkpoints" / "step-00000500");
  Start();

  EXPECT_FALSE(fs::exists(CreatingPath(state() / "jobs", 7)));
  EXPECT_FALSE(fs::exists(job(8)));
  bool is_aside = false;
  for (const auto& entry : fs::recursive_directory_iterator(state() / "set-aside")) {
    is_aside = is_aside || entry.path().filename() == "step-00000500";
  }
  EXPECT_TRUE(is_aside);
}

// The steps of a deletion: marked; files gone; row gone.
TEST_F(JobRecoveryTest, ADeletionIsFinishedWhereverTheServerEnds) {
  for (const bool files_gone : {false, true}) {
    SCOPED_TRACE(files_gone);
    const std::string name = Create(Request(/*max_steps=*/5));
    WaitFor(name, TrainingJob::SUCCEEDED);
    const int64_t id = *ParseJobName(name);
    StopServer();
    ASSERT_TRUE(MarkRemoved(state() / "jobs", id).ok());
    if (files_gone) {
      ASSERT_TRUE(EmptyRemoved(state() / "jobs", id).ok());
    }

    Start();

    denoised::v1::GetTrainingJobRequest request;
    request.set_name(name);
    EXPECT_EQ(jobs().Get(request, Anyone()).status().code(), absl::StatusCode::kNotFound);
    EXPECT_FALSE(fs::exists(RemovedPath(state() / "jobs", id)));
  }
}

}  // namespace
}  // namespace denoise
