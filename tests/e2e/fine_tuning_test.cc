// The model that comes with the project is trained further, on some of its classes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/image/image.h"
#include "tests/core/data/upload_testing.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/server_process.h"
#include "tests/e2e/training_support.h"
#include "tests/e2e/upload_call.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;
namespace v1 = denoised::v1;
using testing::Contains;

class FineTuningTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TempDir>();
    const fs::path models = folder_->path() / "models";
    fs::create_directories(models);
    fs::copy("deploy/models/emoji-32", models / "emoji-32", fs::copy_options::recursive);
    server_ = StartServer(models, {"--state", (folder_->path() / "state").string()});
    stubs_ = std::make_unique<TrainingStubs>(*server_);
  }

  static void TearDownTestSuite() {
    stubs_.reset();
    server_.reset();
    folder_.reset();
  }

  static void Upload(const std::string& name, const std::vector<std::string>& classes) {
    std::string archive;
    for (const std::string& one : classes) archive += TarFile(one + "/1.png", Png(1, 32, 32));
    UploadReady(*stubs_->datasets, name, v1::DATASET_FORMAT_TAR, archive + kTarEnd);
  }

  static grpc::Status Create(const std::string& data_set, v1::TrainingJob& job) {
    v1::CreateTrainingJobRequest request = SmallJob(data_set, 1);
    v1::TrainingSettings& settings = *request.mutable_training();
    settings.set_base_model("models/emoji-32");
    settings.set_batch_size(2);
    settings.mutable_samples()->set_every_n_steps(0);
    grpc::ClientContext context;
    return stubs_->training->CreateTrainingJob(&context, request, &job);
  }

  static grpc::Status Publish(const std::string& job, v1::Model& model) {
    v1::PublishModelRequest request;
    request.set_source(job);
    request.set_model("models/emoji-32");  // with the classes that it had: none needs allow_replace
    grpc::ClientContext context;
    return stubs_->training->PublishModel(&context, request, &model);
  }

  static inline std::unique_ptr<TempDir> folder_;
  static inline std::unique_ptr<ServerProcess> server_;
  static inline std::unique_ptr<TrainingStubs> stubs_;
};

TEST_F(FineTuningTest, ADataSetMayHaveSomeOfTheClasses) {
  Upload("some",
         {"symbols", "animals", "food"});  // sorted, they are neither 0, 1, 2 nor so ordered
  v1::TrainingJob job;
  grpc::Status status = Create("some", job);
  ASSERT_TRUE(status.ok()) << status.error_message();
  job = WaitForEnd(*stubs_->training, job.name());
  ASSERT_EQ(job.state(), v1::TrainingJob::SUCCEEDED) << job.state_reason();

  v1::Model model;
  status = Publish(job.name(), model);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(model.classes_size(), 8);
  EXPECT_EQ(model.classes(7).display_name(), "symbols");

  v1::GenerateRequest request;
  request.set_model(model.name());
  request.set_class_label(7);
  request.mutable_sampler()->set_steps(1);
  const Generation run = Generate(server_->generation(), request);
  ASSERT_TRUE(run.status.ok()) << run.status.error_message();
  EXPECT_EQ(DecodeImage(run.Images().at(0), 32 * 32)->width, 32);
}

TEST_F(FineTuningTest, AClassThatTheModelLacksIsRefused) {
  Upload("strange", {"animals", "vegetables"});
  v1::TrainingJob job;
  const grpc::Status status = Create("strange", job);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << status.error_message();
  EXPECT_THAT(ViolatedFields(status), Contains("training.dataset"));
}

}  // namespace
}  // namespace denoise
