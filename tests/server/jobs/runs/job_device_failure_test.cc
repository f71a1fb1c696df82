// Jobs whose device fails for good: they lose at most what they have not saved.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>

#include "server/jobs/runs/job_runner.h"
#include "tests/core/device/failing_runtime.h"
#include "tests/server/jobs/training_jobs_testing.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class JobDeviceFailureTest : public TrainingJobsTest {
 protected:
  static void SetUpTestSuite() { FailingRuntime::Register(); }
  void TearDown() override { FailingRuntime::next_fails = FailingRuntime::all_fail = false; }

  // Nothing else uses a device while a job is trained.
  static void FailTheDeviceThatTrains() { FailingRuntime::next_fails = true; }
};

TEST_F(JobDeviceFailureTest, AJobContinuesOnAnotherDevice) {
  const std::string undisturbed = Create(Request(40));
  WaitFor(undisturbed, TrainingJob::SUCCEEDED);
  ASSERT_TRUE(Publish(undisturbed, "undisturbed").ok());
  Start(/*max_running_jobs=*/1, /*devices=*/2);
  const std::string name = Create(Request(40));
  WaitForStep(name, 8);

  FailTheDeviceThatTrains();
  WaitFor(name, TrainingJob::SUCCEEDED);

  EXPECT_THAT(States(name),
              ElementsAre(TrainingJob::QUEUED, TrainingJob::RUNNING, TrainingJob::QUEUED,
                          TrainingJob::RUNNING, TrainingJob::SUCCEEDED));
  EXPECT_EQ(server_->engine().WorkingDevices(), 1);
  ASSERT_TRUE(Publish(name, "disturbed").ok());
  EXPECT_TRUE(SameWeights(Weights("disturbed"), Weights("undisturbed")));
}

TEST_F(JobDeviceFailureTest, WithoutADeviceAJobWaitsForARestart) {
  const std::string name = Create(Request(40));
  WaitForStep(name, 8);

  FailTheDeviceThatTrains();

  const TrainingJob waiting = WaitFor(name, TrainingJob::QUEUED);
  EXPECT_THAT(waiting.state_reason(), HasSubstr("its device has failed"));
  const std::string another = Create(Request(1));
  EXPECT_EQ(Get(another).state(), TrainingJob::QUEUED);
  Start();
  WaitFor(name, TrainingJob::SUCCEEDED);
  WaitFor(another, TrainingJob::SUCCEEDED);
}

TEST_F(JobDeviceFailureTest, AJobThatMakesDevicesFailEndsThat) {
  CreateTrainingJobRequest request = EndlessRequest();
  request.mutable_training()->mutable_checkpoints()->set_every_n_steps(1'000'000);
  const std::string name = Create(request);
  for (int failed = 0; failed < kMaxLostRuns; ++failed) {
    const int64_t last = Events(name).back().sequence();
    Wait(name, [&](const TrainingJob&) { return Events(name).back().sequence() > last; });
    FailTheDeviceThatTrains();
    WaitFor(name, TrainingJob::QUEUED);
    Start();
  }
  const TrainingJob job = WaitFor(name, TrainingJob::FAILED);
  EXPECT_THAT(job.state_reason(), HasSubstr("the device failed or a rank was lost 10 times"));
}

// The runner is the first to notice, when it loads a job onto the device.
TEST_F(JobDeviceFailureTest, AJobThatCannotBeLoadedForThatReasonDoesNotFail) {
  WaitFor(Create(Request(3)), TrainingJob::SUCCEEDED);
  ASSERT_TRUE(Publish("trainingJobs/1", "digits").ok());
  CreateTrainingJobRequest request;
  auto& settings = *request.mutable_evaluation();
  settings.set_model("models/digits");
  settings.set_dataset("datasets/digits");
  settings.mutable_sampler()->set_steps(2);
  settings.set_sample_count(8);
  settings.set_features(denoised::v1::EvaluationSettings::PIXELS);
  settings.set_nearest_neighbours(2);
  FailingRuntime::all_fail = true;

  const std::string name = Create(request);

  Wait(name, [](const TrainingJob& job) {
    return job.state() == TrainingJob::FAILED ||
           (job.state() == TrainingJob::QUEUED && !job.state_reason().empty());
  });
  EXPECT_EQ(Get(name).state(), TrainingJob::QUEUED);
  EXPECT_THAT(Get(name).state_reason(), HasSubstr("its device has failed"));
  FailingRuntime::all_fail = false;
  Start();
  WaitFor(name, TrainingJob::SUCCEEDED);
}

}  // namespace
}  // namespace denoise
