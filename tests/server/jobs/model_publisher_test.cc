#include "server/jobs/model_publisher.h"

#include <SQLiteCpp/Database.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "core/base/error_details.h"
#include "tests/server/jobs/training_jobs_testing.h"

namespace denoise {
namespace {

using ModelPublisherTest = TrainingJobsTest;

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;

TEST_F(ModelPublisherTest, AServedModelIsTrainedFurtherAndMayChangeMeanwhile) {
  WaitFor(Create(Request(3)), TrainingJob::SUCCEEDED);
  ASSERT_TRUE(Publish("trainingJobs/1", "digits").ok());
  CreateTrainingJobRequest request = Request(6);
  request.mutable_training()->set_base_model("models/digits");
  const std::string name = Create(request);
  std::filesystem::remove_all(folder() / "models" / "digits");

  EXPECT_EQ(WaitFor(name, TrainingJob::SUCCEEDED).steps_done(), 6);

  request.mutable_training()->set_base_model("models/absent");
  EXPECT_EQ(GetResource(jobs().Create(request, Anyone()).status())->name, "models/absent");
}

TEST_F(ModelPublisherTest, CheckpointsAreListedTheNewestFirst) {
  const std::string name = Create(Request(12));
  WaitFor(name, TrainingJob::SUCCEEDED);
  denoised::v1::ListCheckpointsRequest request;
  request.set_parent(name);
  request.set_page_size(1);

  const auto first = *jobs().ListCheckpoints(request, Anyone());
  request.set_page_token(first.next_page_token());
  const auto second = *jobs().ListCheckpoints(request, Anyone());

  ASSERT_EQ(first.checkpoints_size(), 1);
  EXPECT_EQ(first.checkpoints(0).name(), name + "/checkpoints/12");
  EXPECT_TRUE(first.checkpoints(0).has_create_time());
  ASSERT_EQ(second.checkpoints_size(), 1);
  EXPECT_EQ(second.checkpoints(0).step(), 10);
  EXPECT_EQ(second.next_page_token(), "");
  request.set_page_token("made up");
  EXPECT_THAT(FieldsOf(jobs().ListCheckpoints(request, Anyone()).status()),
              ElementsAre("page_token"));
}

TEST_F(ModelPublisherTest, AnyCheckpointThatIsKeptCanBePublished) {
  const std::string name = Create(Request(12));
  WaitFor(name, TrainingJob::SUCCEEDED);

  ASSERT_TRUE(Publish(name + "/checkpoints/10", "earlier").ok());

  ASSERT_TRUE(Publish(name, "latest").ok());
  EXPECT_FALSE(SameWeights(Weights("earlier"), Weights("latest")));
  EXPECT_EQ(Publish(name + "/checkpoints/5", "gone").status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Publish("models/latest", "x").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Publish("trainingJobs/99", "x").status().code(), absl::StatusCode::kNotFound);
}

std::string Message(const absl::StatusOr<ModelHandle>& model) {
  EXPECT_EQ(model.status().code(), absl::StatusCode::kFailedPrecondition);
  return std::string(model.status().message());
}

TEST_F(ModelPublisherTest, WithoutACheckpointItSaysWhenTheFirstOneComes) {
  CreateTrainingJobRequest late = EndlessRequest();
  late.mutable_training()->mutable_checkpoints()->set_every_n_steps(900'000);
  const std::string running = Create(late), queued = Create(Request(3));
  WaitForStep(running, 1);
  EXPECT_THAT(Message(Publish(running, "x")),
              AllOf(HasSubstr("is RUNNING at step "), HasSubstr(" of 1000000, "),
                    EndsWith("saves the first one after step 900000. Publish it then, or pause the "
                             "job, which saves one at once")));
  EXPECT_EQ(Message(Publish(queued, "x")),
            "the job has no checkpoint yet: it is QUEUED at step 0 of 3, and saves the first one "
            "after step 3. Publish it then");
  EXPECT_EQ(Message(Publish(queued + "/checkpoints/3", "x")), Message(Publish(queued, "x")));
  ASSERT_TRUE(Pause(queued).ok());
  EXPECT_THAT(Message(Publish(queued, "x")), EndsWith("Resume the job, and publish it then"));
  ASSERT_TRUE(Cancel(queued).ok());
  EXPECT_THAT(Message(Publish(queued, "x")), HasSubstr("is CANCELLED and has no checkpoint"));
}

TEST_F(ModelPublisherTest, ACheckpointThatIsNotThereIsAnsweredWithThoseThatAre) {
  const std::string name = Create(Request(12));
  WaitFor(name, TrainingJob::SUCCEEDED);
  EXPECT_EQ(Message(Publish(name + "/checkpoints/5", "x")),
            "the job has no checkpoint of step 5. Publish one of those that it has: step 12, 10");
}

// What is served is published, whether or not the job could note it.
TEST_F(ModelPublisherTest, AModelThatIsServedIsPublished) {
  const std::string name = Create(Request(1));
  WaitFor(name, TrainingJob::SUCCEEDED);
  const size_t events = Events(name).size();
  SQLite::Database((folder() / "state" / "state.db").string(), SQLite::OPEN_READWRITE)
      .exec("CREATE TRIGGER refuse BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, ''); END");

  const auto published = Publish(name, "digits");

  ASSERT_TRUE(published.ok()) << published.status();
  EXPECT_EQ((*server_->models().Find("digits"))->version, (*published)->version);
  EXPECT_EQ(Events(name).size(), events);
}

TEST_F(ModelPublisherTest, WhatIsWrongWithOurOwnFilesIsNoFaultOfTheRequest) {
  const std::string name = Create(Request(1));
  WaitFor(name, TrainingJob::SUCCEEDED);
  const auto config = server_->state().base_model(1) / "unet" / "config.json";
  WriteFile(config, "{}");

  EXPECT_EQ(Publish(name, "digits").status().code(), absl::StatusCode::kInternal);

  std::filesystem::remove(config);
  EXPECT_EQ(Publish(name, "digits").status().code(), absl::StatusCode::kInternal);
}

// Its first step makes weights of 1e30, which are finite, unlike what the network then says.
TEST_F(ModelPublisherTest, WhatHasDivergedIsNotPublished) {
  CreateTrainingJobRequest request = Request(5);
  request.mutable_training()->mutable_optimizer()->set_learning_rate(1e30);
  request.mutable_training()->mutable_checkpoints()->set_every_n_steps(1);
  const std::string name = Create(request);

  const TrainingJob job = WaitFor(name, TrainingJob::FAILED);

  EXPECT_THAT(job.state_reason(),
              ::testing::AllOf(::testing::HasSubstr("a new network diverged: the loss was not "
                                                    "finite from step 2 to step 5"),
                               ::testing::HasSubstr("optimizer.learning_rate")));
  const absl::Status published = Publish(name, "diverged").status();
  EXPECT_EQ(published.code(), absl::StatusCode::kFailedPrecondition) << published;
}

TEST_F(ModelPublisherTest, AModelOfAnotherShapeIsReplacedOnlyWhereThatIsAllowed) {
  const std::string small = Create(Request(1));
  CreateTrainingJobRequest request = Request(1);
  request.mutable_training()->mutable_new_network()->set_height(16);
  const std::string large = Create(request);
  WaitFor(large, TrainingJob::SUCCEEDED);
  ASSERT_TRUE(Publish(small, "digits").ok());
  EXPECT_TRUE(Publish(small, "digits").ok());

  EXPECT_EQ(Publish(large, "digits").status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(Publish(large, "digits", /*allow_replace=*/true).ok());
}

// A version takes over the name of its model.
TEST_F(ModelPublisherTest, AVersionOfAnotherShapeReplacesWhatHasItsNameOnlyWhereThatIsAllowed) {
  const std::string small = Create(Request(1));
  CreateTrainingJobRequest request = Request(1);
  request.mutable_training()->mutable_new_network()->set_height(16);
  const std::string large = Create(request);
  WaitFor(large, TrainingJob::SUCCEEDED);
  ASSERT_TRUE(Publish(small, "digits@1").ok());
  EXPECT_TRUE(Publish(small, "digits@2").ok());
  EXPECT_EQ(Publish(large, "digits@999").status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(Publish(large, "digits@999", /*allow_replace=*/true).ok());
}

TEST_F(ModelPublisherTest, WeightsCanTakeHalfTheRoom) {
  const std::string name = Create(Request(1));
  WaitFor(name, TrainingJob::SUCCEEDED);
  denoised::v1::PublishModelRequest request;
  request.set_source(name);
  request.set_model("models/half");
  request.set_precision(denoised::v1::PublishModelRequest::FLOAT16);

  ASSERT_TRUE(Publish(name, "whole").ok());
  ASSERT_TRUE(jobs().Publish(request, Anyone()).ok());

  const auto size = [&](const char* model) {
    return static_cast<double>(std::filesystem::file_size(folder() / "models" / model / "unet" /
                                                          "diffusion_pytorch_model.safetensors"));
  };
  EXPECT_NEAR(size("half") / size("whole"), 0.5, 0.1);
  const StateDict half = Weights("half");
  for (const auto& [weight, value] : Weights("whole")) {
    EXPECT_TRUE(half.at(weight).equal(value.to(at::kHalf).to(at::kFloat))) << weight;
  }
  request.set_precision(static_cast<denoised::v1::PublishModelRequest::Precision>(7));
  EXPECT_THAT(FieldsOf(jobs().Publish(request, Anyone()).status()), ElementsAre("precision"));
}

}  // namespace
}  // namespace denoise
