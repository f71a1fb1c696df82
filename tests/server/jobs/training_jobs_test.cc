#include "server/jobs/training_jobs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error_details.h"
#include "tests/server/jobs/training_jobs_testing.h"

namespace denoise {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

TEST_F(TrainingJobsTest, WhatWasResolvedIsEchoed) {
  CreateTrainingJobRequest request = Request(12);
  request.mutable_training()->clear_seed();
  request.set_priority(3);
  (*request.mutable_labels())["team"] = "vision";

  const TrainingJob job = *jobs().Create(request, Anyone());

  const TrainingSettings& settings = job.training();
  EXPECT_EQ(job.priority(), 3);
  EXPECT_EQ(job.labels().at("team"), "vision");
  EXPECT_TRUE(settings.has_seed());
  EXPECT_EQ(settings.new_network().prediction_type(), "v_prediction");
  EXPECT_TRUE(settings.new_network().class_conditional());
  EXPECT_EQ(settings.objective().loss(), denoised::v1::Objective::SIMPLE);
  EXPECT_EQ(settings.objective().label_dropout(), 0.1);
  EXPECT_FALSE(settings.objective().has_min_snr_gamma());
  EXPECT_EQ(settings.optimizer().learning_rate(), 1e-4);
  EXPECT_THAT(settings.ema_decays(), ElementsAre(0.999));
  EXPECT_EQ(settings.precision(), TrainingSettings::FLOAT32);
  EXPECT_EQ(settings.checkpoints().keep(), 2);
  EXPECT_EQ(settings.samples().guidance_scale(), 2);
  EXPECT_EQ(settings.samples().sampler().steps(), 2);
  EXPECT_NE(settings.samples().sampler().sampler(), 0);
}

TEST_F(TrainingJobsTest, EverythingThatIsWrongIsNamed) {
  CreateTrainingJobRequest request = Request(0);
  request.mutable_training()->mutable_optimizer()->set_learning_rate(-1);
  request.mutable_training()->mutable_objective()->set_min_snr_gamma(5);
  request.mutable_training()->mutable_samples()->set_count(100);
  request.mutable_training()->mutable_samples()->mutable_sampler()->set_steps(-3);
  request.mutable_training()->mutable_checkpoints()->set_every_n_steps(0);

  const absl::Status status = jobs().Create(request, Anyone()).status();

  EXPECT_THAT(
      FieldsOf(status),
      UnorderedElementsAre("training.max_steps", "training.optimizer.learning_rate",
                           "training.objective.min_snr_gamma", "training.samples.count",
                           "training.samples.sampler.steps", "training.checkpoints.every_n_steps"));
  request = Request(1);
  request.mutable_training()->mutable_new_network()->set_height(1 << 20);
  EXPECT_THAT(FieldsOf(jobs().Create(request, Anyone()).status()),
              Contains("training.new_network.height"));
  EXPECT_THAT(FieldsOf(jobs().Create({}, Anyone()).status()), ElementsAre("work"));
  EXPECT_TRUE(std::filesystem::is_empty(server_->state().jobs()));
}

TEST_F(TrainingJobsTest, ARequestThatIsRefusedTakesNoNumber) {
  CreateTrainingJobRequest too_large = Request(1), no_data = Request(1), evaluation;
  too_large.mutable_training()->mutable_new_network()->set_height(1 << 20);
  no_data.mutable_training()->set_dataset("datasets/none");
  evaluation.mutable_evaluation()->set_model("models/none");
  evaluation.mutable_evaluation()->set_dataset("datasets/digits");
  for (const CreateTrainingJobRequest& request : {Request(0), too_large, no_data, evaluation}) {
    EXPECT_FALSE(jobs().Create(request, Anyone()).ok());
  }

  EXPECT_EQ(Create(Request(1)), "trainingJobs/1");
}

TEST_F(TrainingJobsTest, ARetryFindsItsJobAndAnotherRequestIsRefused) {
  CreateTrainingJobRequest request = Request(3);
  request.set_request_id("once");
  const std::string name = Create(request);

  EXPECT_EQ(Create(request), name);
  request.mutable_training()->set_max_steps(4);
  EXPECT_EQ(jobs().Create(request, Anyone()).status().code(), absl::StatusCode::kAlreadyExists);
}

TEST_F(TrainingJobsTest, AFullQueueRefusesBeforeAnythingIsMade) {
  const std::string running = Create(EndlessRequest());
  WaitForStep(running, 1);
  for (int i = 0; i < 3; ++i) Create(Request(1));

  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(jobs().Create(Request(1), Anyone()).status().code(),
              absl::StatusCode::kResourceExhausted);
  }

  ASSERT_TRUE(Cancel("trainingJobs/2").ok());
  EXPECT_EQ(Create(Request(1)), "trainingJobs/5") << "an id was taken";
}

TEST_F(TrainingJobsTest, InceptionFeaturesNeedANetwork) {
  WaitFor(Create(Request(3)), TrainingJob::SUCCEEDED);
  ASSERT_TRUE(Publish("trainingJobs/1", "digits").ok());
  CreateTrainingJobRequest request;
  request.mutable_evaluation()->set_model("models/digits");
  request.mutable_evaluation()->set_dataset("datasets/digits");
  request.mutable_evaluation()->set_features(denoised::v1::EvaluationSettings::INCEPTION);

  EXPECT_EQ(jobs().Create(request, Anyone()).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(TrainingJobsTest, WhoeverReadsCheckpointsMakesNoFolder) {
  const std::string running = Create(EndlessRequest());
  WaitForStep(running, 1);
  const std::string queued = Create(Request(1));
  denoised::v1::ListCheckpointsRequest request;
  request.set_parent(queued);

  EXPECT_EQ(jobs().ListCheckpoints(request, Anyone())->checkpoints_size(), 0);
  EXPECT_EQ(Publish(queued, "digits").status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Publish(queued + "/checkpoints/5", "digits").status().code(),
            absl::StatusCode::kFailedPrecondition);

  EXPECT_FALSE(std::filesystem::exists(server_->state().checkpoints(2)));
}

TEST_F(TrainingJobsTest, AJobThatIsOverIsDeletedWithItsFolder) {
  const std::string name = Create(Request(1));
  WaitFor(name, TrainingJob::SUCCEEDED);
  EXPECT_TRUE(std::filesystem::exists(server_->state().job(1)));

  ASSERT_TRUE(Delete(name).ok());

  EXPECT_FALSE(std::filesystem::exists(server_->state().job(1)));
  EXPECT_EQ(Delete(name).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Create(Request(1)), "trainingJobs/2");
}

TEST_F(TrainingJobsTest, AWatcherIsWokenAndHearsEveryEventUntilTheEnd) {
  const std::string name = Create(Request(20));
  Signal woken;
  denoised::v1::WatchTrainingJobRequest request;
  request.set_name(name);
  request.set_resume_after(1);
  auto watcher = *jobs().Watch(request, Anyone(), [&] { woken.Notify(); });

  std::vector<int64_t> sequences;
  while (true) {
    const int64_t seen = woken.count();
    const auto event = *watcher->Next();
    if (event) {
      sequences.push_back(event->sequence());
    } else if (watcher->over()) {
      break;
    } else {
      woken.WaitForMoreThan(seen);
    }
  }

  for (size_t i = 0; i < sequences.size(); ++i) EXPECT_EQ(sequences[i], int64_t(i) + 2);
  EXPECT_EQ(sequences.size(), Events(name).size() - 1);
  request.set_resume_after(-1);
  EXPECT_THAT(FieldsOf(jobs().Watch(request, Anyone(), [] {}).status()),
              ElementsAre("resume_after"));
}

TEST_F(TrainingJobsTest, ListsAreFilteredAndPaged) {
  for (int i = 0; i < 3; ++i) Create(Request(1));
  WaitFor("trainingJobs/3", TrainingJob::SUCCEEDED);
  denoised::v1::ListTrainingJobsRequest request;
  request.set_page_size(2);

  const auto first = *jobs().List(request, Anyone());
  request.set_page_token(first.next_page_token());
  const auto second = *jobs().List(request, Anyone());

  ASSERT_EQ(first.jobs_size(), 2);
  EXPECT_EQ(first.jobs(0).name(), "trainingJobs/3");
  ASSERT_EQ(second.jobs_size(), 1);
  EXPECT_EQ(second.jobs(0).name(), "trainingJobs/1");
  EXPECT_EQ(second.next_page_token(), "");
  request.add_states(TrainingJob::SUCCEEDED);
  EXPECT_THAT(FieldsOf(jobs().List(request, Anyone()).status()), ElementsAre("page_token"));
  request.Clear();
  request.add_states(TrainingJob::FAILED);
  EXPECT_EQ(jobs().List(request, Anyone())->jobs_size(), 0);
  request.add_states(static_cast<TrainingJob::State>(77));
  EXPECT_THAT(FieldsOf(jobs().List(request, Anyone()).status()), ElementsAre("states"));
}

}  // namespace
}  // namespace denoise
