#include "server/jobs/runs/job_runner.h"

#include <SQLiteCpp/Database.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <set>
#include <utility>

#include "core/base/error_details.h"
#include "server/jobs/store/job_tables.h"
#include "tests/core/files/full_disk.h"
#include "tests/server/jobs/training_jobs_testing.h"

namespace denoise {
namespace {

using JobRunnerTest = TrainingJobsTest;

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST_F(JobRunnerTest, AJobRunsToItsEndAndBecomesAModel) {
  const std::string name = Create(Request(12));

  const TrainingJob job = WaitFor(name, TrainingJob::SUCCEEDED);

  EXPECT_EQ(job.steps_done(), 12);
  EXPECT_EQ(job.steps_total(), 12);
  EXPECT_EQ(job.progress().step(), 12);
  EXPECT_EQ(job.latest_checkpoint(), name + "/checkpoints/12");
  EXPECT_THAT(States(name),
              ElementsAre(TrainingJob::QUEUED, TrainingJob::RUNNING, TrainingJob::SUCCEEDED));
  const auto published = Publish(name, "digits");
  ASSERT_TRUE(published.ok()) << published.status();
  EXPECT_EQ((*published)->spec.sample.height, 8);
  EXPECT_EQ((*published)->id2label.at(1), "1");
  EXPECT_EQ((*server_->models().Find("digits"))->version, (*published)->version);
  EXPECT_EQ(Events(name).back().published().model(), "models/digits");
  EXPECT_EQ(Events(name).back().published().step(), 12);
}

TEST_F(JobRunnerTest, JobsRunOneByOneByPriorityThenAge) {
  const std::string first = Create(EndlessRequest());
  WaitForStep(first, 1);
  CreateTrainingJobRequest request = Request(1);
  const std::string second = Create(request);
  request.set_priority(5);
  const std::string third = Create(request);
  EXPECT_EQ(Get(second).state(), TrainingJob::QUEUED);
  Create(request);
  EXPECT_EQ(GetQuotaViolation(jobs().Create(request, Anyone()).status())->subject, "trainingJobs");

  ASSERT_TRUE(Cancel(first).ok());
  WaitFor(second, TrainingJob::SUCCEEDED);

  EXPECT_EQ(Get(first).state(), TrainingJob::CANCELLED);
  EXPECT_EQ(Get(third).state(), TrainingJob::SUCCEEDED);
}

TEST_F(JobRunnerTest, SeveralRunAtOnceWhereTheyMay) {
  Start(/*max_running_jobs=*/2);
  const std::string first = Create(EndlessRequest());
  const std::string second = Create(EndlessRequest());
  WaitForStep(first, 1);
  WaitForStep(second, 1);
  EXPECT_EQ(Get(first).state(), TrainingJob::RUNNING);
  Start(/*max_running_jobs=*/1);

  WaitFor(second, TrainingJob::QUEUED);

  EXPECT_EQ(Get(first).state(), TrainingJob::RUNNING);
  EXPECT_THAT(Get(second).state_reason(), HasSubstr("fewer"));
}

TEST_F(JobRunnerTest, APausedJobKeepsWhatItHasAndEndsAsAnUndisturbedOne) {
  const std::string name = Create(EndlessRequest());
  WaitForStep(name, 7);

  const TrainingJob paused = PauseAndWait(name);
  EXPECT_GE(paused.steps_done(), 7);
  EXPECT_EQ(paused.latest_checkpoint(),
            name + "/checkpoints/" + std::to_string(paused.steps_done()));
  Start();
  EXPECT_EQ(Get(name).state(), TrainingJob::PAUSED);
  ASSERT_TRUE(Resume(name).ok());
  WaitForStep(name, paused.steps_done() + 10);
  const TrainingJob again = PauseAndWait(name);

  const std::string undisturbed = Create(Request(again.steps_done()));
  WaitFor(undisturbed, TrainingJob::SUCCEEDED);
  ASSERT_TRUE(Publish(undisturbed, "undisturbed").ok());
  ASSERT_TRUE(Publish(name, "paused").ok());
  EXPECT_TRUE(SameWeights(Weights("paused"), Weights("undisturbed")));
  EXPECT_FALSE(Resume(undisturbed).ok());
}

TEST_F(JobRunnerTest, AJobThatIsStoppedOrLosesPowerGoesOnByItself) {
  const std::string undisturbed = Create(Request(40));
  WaitFor(undisturbed, TrainingJob::SUCCEEDED);
  ASSERT_TRUE(Publish(undisturbed, "undisturbed").ok());
  const std::string name = Create(Request(40));
  int64_t heard = 0;
  for (const int64_t step : {3, 8, 17, 26, 33}) {
    WaitForStep(name, step);
    heard = Events(name).back().sequence();
    step % 2 == 0 ? Start() : LosePower();
    EXPECT_GE(Events(name).back().sequence(), heard);
  }
  WaitFor(name, TrainingJob::SUCCEEDED);

  ASSERT_TRUE(Publish(name, "disturbed").ok());
  EXPECT_TRUE(SameWeights(Weights("disturbed"), Weights("undisturbed")));
  std::set<std::pair<int, int64_t>> told;
  int64_t sequence = 0;
  for (const TrainingEvent& event : Events(name)) {
    EXPECT_EQ(event.sequence(), ++sequence);
    const std::optional<int64_t> step = StepOf(event);
    if (!step) continue;
    EXPECT_TRUE(told.emplace(event.event_case(), *step).second) << event.ShortDebugString();
  }
  for (int64_t step = 1; step <= 40; ++step)
    EXPECT_TRUE(told.contains({TrainingEvent::kProgress, step})) << step;
  for (int64_t step = 10; step <= 40; step += 10)
    EXPECT_TRUE(told.contains({TrainingEvent::kSampleGrid, step})) << step;
}

TEST_F(JobRunnerTest, AJobUnderWhichTheServerEndsAgainAndAgainFails) {
  CreateTrainingJobRequest request = EndlessRequest();
  request.mutable_training()->mutable_checkpoints()->set_every_n_steps(1'000'000);
  const std::string name = Create(request);
  int ends = 0;
  for (; ends < 3 * kMaxLostRuns && !IsOver(Get(name).state()); ++ends) {
    const int64_t last = Events(name).back().sequence();
    Wait(name, [&](const TrainingJob& job) {  // at work: it tells what it did not before
      return IsOver(job.state()) || Events(name).back().sequence() > last;
    });
    LosePower();
  }

  const TrainingJob job = WaitFor(name, TrainingJob::FAILED);

  EXPECT_GE(ends, kMaxLostRuns);
  EXPECT_THAT(job.state_reason(), HasSubstr("10 times"));
  EXPECT_THAT(job.state_reason(), HasSubstr("micro_batch_size"));
}

TEST_F(JobRunnerTest, AServerThatStopsInOrderIsHeldAgainstNoJob) {
  const std::string trained = Create(Request(3));
  WaitFor(trained, TrainingJob::SUCCEEDED);
  ASSERT_TRUE(Publish(trained, "digits").ok());
  CreateTrainingJobRequest request;  // of an evaluation, which has no checkpoints
  auto& settings = *request.mutable_evaluation();
  settings.set_model("models/digits");
  settings.set_dataset("datasets/digits");
  settings.mutable_sampler()->set_steps(20);
  settings.set_sample_count(10'000);  // more than anybody waits for
  settings.set_features(denoised::v1::EvaluationSettings::PIXELS);
  settings.set_nearest_neighbours(2);
  const std::string name = Create(request);
  WaitForStep(name, 1);

  server_.reset();

  SQLite::Database database((folder() / "state" / "state.db").string(), SQLite::OPEN_READWRITE);
  EXPECT_EQ(database.execAndGet("SELECT state FROM jobs WHERE id = 2").getInt(),
            TrainingJob::RUNNING);
  EXPECT_EQ(database.execAndGet("SELECT lost_runs FROM jobs WHERE id = 2").getInt(), 0);
}

TEST_F(JobRunnerTest, ACancellationOutlivesTheServer) {
  const std::string name = Create(EndlessRequest());
  WaitForStep(name, 1);
  ASSERT_TRUE(Cancel(name).ok());
  LosePower();

  EXPECT_EQ(WaitFor(name, TrainingJob::CANCELLED).state(), TrainingJob::CANCELLED);
  EXPECT_TRUE(IsOver(Get(name).state()));
}

TEST_F(JobRunnerTest, AWishToPauseOutlivesTheServer) {
  const std::string name = Create(EndlessRequest());
  WaitForStep(name, 1);
  ASSERT_TRUE(Pause(name).ok());
  LosePower();

  EXPECT_EQ(WaitFor(name, TrainingJob::PAUSED).state(), TrainingJob::PAUSED);
  ASSERT_TRUE(Resume(name).ok());
  WaitFor(name, TrainingJob::RUNNING);
}

TEST_F(JobRunnerTest, ALossThatIsNotFiniteGoesBackOnceThenFails) {
  CreateTrainingJobRequest request = Request(100);
  request.mutable_training()->mutable_optimizer()->set_learning_rate(1e30);
  request.mutable_training()->set_max_non_finite_steps(3);
  const std::string name = Create(request);

  const TrainingJob job = WaitFor(name, TrainingJob::FAILED);

  EXPECT_FALSE(job.state_reason().empty());
  int notices = 0;
  for (const TrainingEvent& event : Events(name)) notices += event.notice().empty() ? 0 : 1;
  EXPECT_EQ(notices, 1);
  EXPECT_THAT(States(name),
              ElementsAre(TrainingJob::QUEUED, TrainingJob::RUNNING, TrainingJob::FAILED));
}

TEST_F(JobRunnerTest, AJobThatWentBackDrawsAnew) {
  const std::string name = Create(EndlessRequest());
  WaitForStep(name, 7);
  const int64_t back_to = PauseAndWait(name).steps_done();
  server_.reset();
  SQLite::Database((folder() / "state" / "state.db").string(), SQLite::OPEN_READWRITE)
      .exec("UPDATE jobs SET rolled_back_to = checkpoint_step WHERE id = 1");
  Start();

  ASSERT_TRUE(Resume(name).ok());
  WaitForStep(name, back_to + 10);
  const std::string undisturbed = Create(Request(PauseAndWait(name).steps_done()));
  WaitFor(undisturbed, TrainingJob::SUCCEEDED);

  ASSERT_TRUE(Publish(undisturbed, "undisturbed").ok());
  ASSERT_TRUE(Publish(name, "anew").ok());
  EXPECT_FALSE(SameWeights(Weights("anew"), Weights("undisturbed")));
}

TEST_F(JobRunnerTest, AFullDiskPausesUntilThereIsRoom) {
  CreateTrainingJobRequest request = Request(12);
  request.mutable_training()->mutable_new_network()->set_block_out_channels(0, 64);
  request.mutable_training()->mutable_samples()->set_every_n_steps(0);
  std::string name;
  {
    const FullDisk full(4 << 20, FullDisk::Then::kError);
    name = Create(request);
    const TrainingJob paused = WaitFor(name, TrainingJob::PAUSED);
    EXPECT_EQ(paused.state_reason(), "the server's disk is full");
    clock_.AwaitDeadline();  // of the next probe
    clock_.Advance(absl::Seconds(31));
    clock_.AwaitDeadline();  // there was no room, and the runner will look again
    EXPECT_EQ(Get(name).state(), TrainingJob::PAUSED);
  }
  clock_.Advance(absl::Seconds(31));

  WaitFor(name, TrainingJob::SUCCEEDED);

  EXPECT_THAT(States(name),
              ElementsAre(TrainingJob::QUEUED, TrainingJob::RUNNING, TrainingJob::PAUSED,
                          TrainingJob::QUEUED, TrainingJob::RUNNING, TrainingJob::SUCCEEDED));
}

TEST_F(JobRunnerTest, AnEvaluationTellsHowGoodAModelIs) {
  WaitFor(Create(Request(3)), TrainingJob::SUCCEEDED);
  ASSERT_TRUE(Publish("trainingJobs/1", "digits").ok());
  CreateTrainingJobRequest request;
  auto& settings = *request.mutable_evaluation();
  settings.set_model("models/digits");
  settings.set_dataset("datasets/digits");
  settings.mutable_sampler()->set_steps(2);
  settings.set_features(denoised::v1::EvaluationSettings::PIXELS);
  settings.set_nearest_neighbours(2);
  const std::string name = Create(request);

  const TrainingJob job = WaitFor(name, TrainingJob::SUCCEEDED);

  EXPECT_EQ(job.steps_total(), 10 + 10);
  EXPECT_EQ(job.steps_done(), job.steps_total());
  EXPECT_EQ(job.evaluation_result().samples(), 10);
  EXPECT_EQ(job.evaluation_result().pictures(), 10);
  EXPECT_GT(job.evaluation_result().frechet_distance(), 0);
  EXPECT_EQ(Publish(name, "other").status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(JobRunnerTest, FoldersOfJobsThatNeverCameToBeAreRemoved) {
  std::filesystem::create_directories(server_->state().job(99));
  Start();

  EXPECT_FALSE(std::filesystem::exists(server_->state().job(99)));
}

}  // namespace
}  // namespace denoise
