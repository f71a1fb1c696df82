// Calls about jobs, checkpoints and data sets that name what is not there, ask for pages that no
// list gave, or come at the wrong time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/server_process.h"
#include "tests/e2e/shared_training_server.h"
#include "tests/e2e/training_support.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using grpc::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using v1::Training;

constexpr int kNeverInATest = 1'000'000;

// One call that answers with one message.
template <class Stub, class Request, class Response>
grpc::Status Call(const std::unique_ptr<Stub>& stub,
                  grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                  const std::type_identity_t<Request>& request, Response* response = nullptr) {
  grpc::ClientContext context;
  Response unused;
  return ((*stub).*method)(&context, request, response != nullptr ? response : &unused);
}

template <class Request>
Request Named(const std::string& name) {
  Request request;
  request.set_name(name);
  return request;
}

class TrainingBadCallsTest : public SharedTrainingServer {
 protected:
  static void SetUpTestSuite() {
    auto models = std::make_unique<ModelsFolder>();
    models->AddGuided();
    Start(std::move(models));
    WritePictures(folder_->path() / "shades", 3);
    UploadPictures(*server_, folder_->path() / "shades", "shades");
    finished_ = Create(/*max_steps=*/2);
    EXPECT_EQ(WaitForEnd(*stubs_->training, finished_).state(), v1::TrainingJob::SUCCEEDED);
  }

  // A job whose only checkpoint is its last.
  static std::string Create(int max_steps) {
    v1::CreateTrainingJobRequest request = SmallJob("shades", max_steps);
    request.mutable_training()->mutable_checkpoints()->set_every_n_steps(kNeverInATest);
    v1::TrainingJob job;
    EXPECT_TRUE(Call(stubs_->training, &Training::Stub::CreateTrainingJob, request, &job).ok());
    return job.name();
  }

  static grpc::Status Get(const std::string& name) {
    return Call(stubs_->training, &Training::Stub::GetTrainingJob,
                Named<v1::GetTrainingJobRequest>(name));
  }
  static grpc::Status Cancel(const std::string& name) {
    return Call(stubs_->training, &Training::Stub::CancelTrainingJob,
                Named<v1::CancelTrainingJobRequest>(name));
  }
  static grpc::Status Pause(const std::string& name) {
    return Call(stubs_->training, &Training::Stub::PauseTrainingJob,
                Named<v1::PauseTrainingJobRequest>(name));
  }
  static grpc::Status Resume(const std::string& name) {
    return Call(stubs_->training, &Training::Stub::ResumeTrainingJob,
                Named<v1::ResumeTrainingJobRequest>(name));
  }
  static grpc::Status Delete(const std::string& name) {
    return Call(stubs_->training, &Training::Stub::DeleteTrainingJob,
                Named<v1::DeleteTrainingJobRequest>(name));
  }
  static grpc::Status GetDataset(const std::string& name) {
    return Call(stubs_->datasets, &v1::Datasets::Stub::GetDataset,
                Named<v1::GetDatasetRequest>(name));
  }
  static grpc::Status DeleteDataset(const std::string& name) {
    return Call(stubs_->datasets, &v1::Datasets::Stub::DeleteDataset,
                Named<v1::DeleteDatasetRequest>(name));
  }

  // How a watch that is resumed there ends; the number of events that it told.
  static std::pair<grpc::Status, int> Watch(const std::string& job, int64_t resume_after) {
    v1::WatchTrainingJobRequest request;
    request.set_name(job);
    request.set_resume_after(resume_after);
    grpc::ClientContext context;
    const auto reader = stubs_->training->WatchTrainingJob(&context, request);
    int events = 0;
    for (v1::TrainingEvent event; reader->Read(&event);) ++events;
    return {reader->Finish(), events};
  }

  static grpc::Status Publish(const v1::PublishModelRequest& request) {
    return Call(stubs_->training, &Training::Stub::PublishModel, request);
  }

  static void ExpectStatus(const grpc::Status& status, StatusCode code) {
    EXPECT_EQ(status.error_code(), code) << status.error_message();
    for (const std::string& text : {status.error_message(), status.error_details()}) {
      EXPECT_THAT(text, Not(HasSubstr(folder_->path().string())));
      EXPECT_THAT(text, Not(HasSubstr(models_->path().string())));
    }
    EXPECT_NE(status.error_message(), "");
  }

  static void ExpectNames(const grpc::Status& status, const char* field) {
    ExpectStatus(status, StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(ViolatedFields(status), ElementsAre(field));
  }

  static inline std::string finished_;
};

TEST_F(TrainingBadCallsTest, AMalformedNameIsInvalid) {
  for (const char* name :
       {"", "1", "trainingJobs/", "trainingJobs/01", "trainingJobs/-1", "trainingJobs/../1",
        "trainingJobs/1/checkpoints/1", "trainingJobs/99999999999999999999", "datasets/shades"}) {
    SCOPED_TRACE(name);
    for (const auto call : {&Get, &Cancel, &Pause, &Resume, &Delete})
      ExpectNames(call(name), "name");
    ExpectNames(Watch(name, 0).first, "name");
    v1::ListCheckpointsRequest request;
    request.set_parent(name);
    ExpectNames(Call(stubs_->training, &Training::Stub::ListCheckpoints, request), "parent");
  }
  for (const char* name : {"", "shades", "datasets/", "datasets/../shades", "trainingJobs/1"}) {
    SCOPED_TRACE(name);
    ExpectNames(GetDataset(name), "name");
    ExpectNames(DeleteDataset(name), "name");
  }
}

TEST_F(TrainingBadCallsTest, WhatIsNotThereIsNotFound) {
  const std::string name = "trainingJobs/4711";
  for (const auto call : {&Get, &Cancel, &Pause, &Resume, &Delete}) {
    ExpectStatus(call(name), StatusCode::NOT_FOUND);
  }
  ExpectStatus(Watch(name, 0).first, StatusCode::NOT_FOUND);
  ExpectStatus(GetDataset("datasets/absent"), StatusCode::NOT_FOUND);
  ExpectStatus(DeleteDataset("datasets/absent"), StatusCode::NOT_FOUND);
}

TEST_F(TrainingBadCallsTest, WhatIsOverStaysOver) {
  for (const auto call : {&Cancel, &Pause, &Resume}) {
    ExpectStatus(call(finished_), StatusCode::FAILED_PRECONDITION);
  }
  EXPECT_TRUE(Get(finished_).ok());
}

TEST_F(TrainingBadCallsTest, PagesAndFiltersThatNoListGaveAreInvalid) {
  const auto list = [](int page_size, const std::string& token, int state) {
    v1::ListTrainingJobsRequest request;
    request.set_page_size(page_size);
    request.set_page_token(token);
    request.add_states(static_cast<v1::TrainingJob::State>(state));
    return Call(stubs_->training, &Training::Stub::ListTrainingJobs, request);
  };
  const auto list_datasets = [](int page_size, const std::string& token) {
    v1::ListDatasetsRequest request;
    request.set_page_size(page_size);
    request.set_page_token(token);
    return Call(stubs_->datasets, &v1::Datasets::Stub::ListDatasets, request);
  };
  ExpectNames(list(-1, "", v1::TrainingJob::QUEUED), "page_size");
  ExpectNames(list(0, "", 0), "states");
  ExpectNames(list(0, "", 99), "states");
  ExpectNames(list_datasets(-1, ""), "page_size");
  for (const char* token : {"../../etc", "\x01", "YWZ0ZXI6Li4v", "YWZ0ZXI6LTE", "1"}) {
    SCOPED_TRACE(token);
    ExpectNames(list(0, token, v1::TrainingJob::QUEUED), "page_token");
    ExpectNames(list_datasets(0, token), "page_token");
  }
  EXPECT_TRUE(list(std::numeric_limits<int>::max(), "", v1::TrainingJob::QUEUED).ok());
}

TEST_F(TrainingBadCallsTest, AWatchThatIsResumedBeyondTheEndHearsNothing) {
  const auto [status, events] = Watch(finished_, std::numeric_limits<int64_t>::max());
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(events, 0);
  EXPECT_GT(Watch(finished_, 0).second, 0);
  ExpectNames(Watch(finished_, -1).first, "resume_after");
}

TEST_F(TrainingBadCallsTest, WhatCannotBePublishedSaysWhy) {
  const auto publish = [](const std::string& source, const std::string& model) {
    v1::PublishModelRequest request;
    request.set_source(source);
    request.set_model(model);
    return Publish(request);
  };
  for (const char* model :
       {"", "shades", "models/", "models/../shades", "models//tmp/shades", "models/.shades"}) {
    SCOPED_TRACE(model);
    ExpectNames(publish(finished_, model), "model");
  }
  for (const std::string& source :
       {std::string(), std::string("1"), finished_ + "/checkpoints/", finished_ + "/checkpoints/-1",
        finished_ + "/checkpoints/../1", std::string("datasets/shades")}) {
    SCOPED_TRACE(source);
    ExpectNames(publish(source, "models/shades"), "source");
  }
  ExpectStatus(publish("trainingJobs/4711", "models/shades"), StatusCode::NOT_FOUND);
  ExpectStatus(publish(finished_ + "/checkpoints/999", "models/shades"),
               StatusCode::FAILED_PRECONDITION);
  ExpectStatus(publish(finished_, "models/guided"), StatusCode::FAILED_PRECONDITION);

  v1::PublishModelRequest request;
  request.set_source(finished_);
  request.set_model("models/shades");
  for (const double decay : {0.5, -1.0, std::numeric_limits<double>::quiet_NaN()}) {
    request.set_ema_decay(decay);
    ExpectNames(Publish(request), "ema_decay");
  }
}

TEST_F(TrainingBadCallsTest, AJobWithoutACheckpointIsNotPublished) {
  const std::string job = Create(kNeverInATest);
  v1::PublishModelRequest request;
  request.set_source(job);
  request.set_model("models/early");
  ExpectStatus(Publish(request), StatusCode::FAILED_PRECONDITION);
  ExpectStatus(Delete(job), StatusCode::FAILED_PRECONDITION);
  ExpectStatus(DeleteDataset("datasets/shades"), StatusCode::FAILED_PRECONDITION);
  ASSERT_TRUE(Cancel(job).ok());
  EXPECT_EQ(WaitForEnd(*stubs_->training, job).state(), v1::TrainingJob::CANCELLED);
  ExpectStatus(Publish(request), StatusCode::FAILED_PRECONDITION);
  EXPECT_TRUE(Delete(job).ok());
}

}  // namespace
}  // namespace denoise
