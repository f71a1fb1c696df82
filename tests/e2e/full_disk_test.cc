// A disk that is full: jobs wait and go on by themselves, calls say so, and all is well once there
// is room.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_split.h"
#include "tests/core/data/upload_testing.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/server_process.h"
#include "tests/e2e/small_disk.h"
#include "tests/e2e/training_support.h"
#include "tests/e2e/upload_call.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;
namespace v1 = denoised::v1;
using testing::HasSubstr;
using testing::Not;
using v1::TrainingJob;

// A job goes on where there is room for a checkpoint and 64 MiB.
constexpr int64_t kDiskBytes = int64_t{112} << 20;
// Less than the weights of the network, let alone a checkpoint; enough for events.
constexpr int64_t kBytesLeft = int64_t{3} << 18;
constexpr int kMaxSteps = 60;
constexpr char kWeights[] = "unet/diffusion_pytorch_model.safetensors";

class FullDiskTest : public testing::Test {
 protected:
  void SetUp() override {
    disk_ = SmallDisk::Mount(kDiskBytes);
    if (disk_ == nullptr)
      GTEST_SKIP() << "a file system can be mounted neither as root nor in a namespace";
    fs::copy(ModelsFolder().AddGuided().path(), models(), fs::copy_options::recursive);
    WritePictures(disk_->path() / "shades", 6);
    Start();
    UploadPictures(*server_, disk_->path() / "shades", "shades");
  }

  // After whatever a test did.
  void TearDown() override {
    if (server_ != nullptr) ExpectServing();
  }

  void ExpectServing() {
    EXPECT_TRUE(Generate(server_->generation(), GuidedRequest(/*steps=*/1)).status.ok());
  }

  void Start() {
    server_ = StartServer(
        models(), {"--state", (disk_->path() / "state").string(), "--max-running-jobs", "2"});
    stubs_.emplace(*server_);
  }

  grpc::Status DeleteDataSet(const std::string& name) {
    v1::DeleteDatasetRequest request;
    request.set_name(name);
    grpc::ClientContext context;
    google::protobuf::Empty response;
    return stubs_->datasets->DeleteDataset(&context, request, &response);
  }

  grpc::Status DeleteJob(const std::string& name) {
    v1::DeleteTrainingJobRequest request;
    request.set_name(name);
    grpc::ClientContext context;
    google::protobuf::Empty response;
    return stubs_->training->DeleteTrainingJob(&context, request, &response);
  }

  int DataSets() {
    grpc::ClientContext context;
    v1::ListDatasetsResponse response;
    EXPECT_TRUE(stubs_->datasets->ListDatasets(&context, {}, &response).ok());
    return response.datasets_size();
  }

  fs::path models() const { return disk_->path() / "models"; }

  grpc::Status TryCreate(std::string& name) {
    v1::CreateTrainingJobRequest request = SmallJob("shades", kMaxSteps);
    auto& network = *request.mutable_training()->mutable_new_network();
    for (int& channels : *network.mutable_block_out_channels()) channels = 32;
    request.mutable_training()->mutable_checkpoints()->set_every_n_steps(20);
    request.mutable_training()->mutable_checkpoints()->set_keep(1);
    request.mutable_training()->mutable_samples()->set_every_n_steps(0);
    grpc::ClientContext context;
    TrainingJob job;
    const grpc::Status status = stubs_->training->CreateTrainingJob(&context, request, &job);
    name = job.name();
    return status;
  }

  std::string Create() {
    std::string name;
    const grpc::Status status = TryCreate(name);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return name;
  }

  TrainingJob Get(const std::string& job) {
    v1::GetTrainingJobRequest request;
    request.set_name(job);
    grpc::ClientContext context;
    TrainingJob response;
    EXPECT_TRUE(stubs_->training->GetTrainingJob(&context, request, &response).ok());
    return response;
  }

  void WaitForState(const std::string& job, TrainingJob::State state) {
    ASSERT_TRUE(Eventually([&] { return Get(job).state() == state; })) << Get(job).DebugString();
  }

  // Stops it with a checkpoint, well before its end.
  void Pause(const std::string& job) {
    ASSERT_TRUE(Eventually([&] { return Get(job).steps_done() > 0; }));
    v1::PauseTrainingJobRequest request;
    request.set_name(job);
    grpc::ClientContext context;
    TrainingJob response;
    ASSERT_TRUE(stubs_->training->PauseTrainingJob(&context, request, &response).ok());
    WaitForState(job, TrainingJob::PAUSED);
  }

  void Resume(const std::string& job) {
    v1::ResumeTrainingJobRequest request;
    request.set_name(job);
    grpc::ClientContext context;
    TrainingJob response;
    ASSERT_TRUE(stubs_->training->ResumeTrainingJob(&context, request, &response).ok());
  }

  // Every event, once the job is over.
  std::vector<v1::TrainingEvent> Watch(const std::string& job) {
    v1::WatchTrainingJobRequest request;
    request.set_name(job);
    grpc::ClientContext context;
    const auto reader = stubs_->training->WatchTrainingJob(&context, request);
    std::vector<v1::TrainingEvent> events;
    for (v1::TrainingEvent event; reader->Read(&event);) events.push_back(event);
    const grpc::Status status = reader->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
    return events;
  }

  grpc::Status Publish(const std::string& source, const std::string& model) {
    v1::PublishModelRequest request;
    request.set_source(source);
    request.set_model("models/" + model);
    grpc::ClientContext context;
    v1::Model response;
    return stubs_->training->PublishModel(&context, request, &response);
  }

  // Of the job's averages; empty, and the test fails, where they cannot be published.
  std::string PublishedWeights(const std::string& job, const std::string& model) {
    const grpc::Status status = Publish(job, model);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return status.ok() ? ReadFile(models() / model / kWeights) : "";
  }

  // With the weights of a job that nobody disturbed.
  void ExpectUndisturbedEnd(const std::string& job, const std::string& undisturbed) {
    EXPECT_EQ(Get(job).state(), TrainingJob::SUCCEEDED);
    EXPECT_EQ(Get(job).steps_done(), kMaxSteps);
    EXPECT_TRUE(PublishedWeights(job, "disturbed") == PublishedWeights(undisturbed, "undisturbed"))
        << "the weights of " << job << " differ";
  }

  // How often the server has logged that it failed at something by itself, outside any call.
  size_t TroublesInLog() const {
    const std::vector<std::string> parts = absl::StrSplit(server_->Log(), "event=trouble ");
    return parts.size() - 1;
  }

  void ExpectFull(const grpc::Status& status) {
    EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
    EXPECT_THAT(status.error_message(), Not(HasSubstr(disk_->path().string())));
    EXPECT_THAT(status.error_details(), Not(HasSubstr(disk_->path().string())));
  }

  int64_t ReceivedBytes(const std::string& data_set) {
    v1::GetDatasetRequest request;
    request.set_name(data_set);
    grpc::ClientContext context;
    v1::Dataset response;
    EXPECT_TRUE(stubs_->datasets->GetDataset(&context, request, &response).ok());
    return response.received_bytes();
  }

  // More than fits beside what is left.
  const std::string archive_ = TarFile("dark/1.png", Png(1)) + TarFile("light/1.png", Png(2)) +
                               TarFile("notes.txt", std::string(4 * kBytesLeft, 'x')) + kTarEnd;
  std::unique_ptr<SmallDisk> disk_;
  std::unique_ptr<ServerProcess> server_;
  std::optional<TrainingStubs> stubs_;
};

// Whether the job told that it was paused because of the disk, and why.
bool ToldOfFullDisk(const std::vector<v1::TrainingEvent>& events) {
  for (const v1::TrainingEvent& event : events) {
    if (event.state_change().state() == TrainingJob::PAUSED &&
        event.state_change().reason() == "the server's disk is full") {
      return true;
    }
  }
  return false;
}

TEST_F(FullDiskTest, EverythingWaitsForRoomAndGoesOn) {
  const std::string job = Create(), other_job = Create();
  Pause(job);
  Pause(other_job);
  disk_->Fill(kBytesLeft);
  Resume(job);
  ASSERT_TRUE(Eventually([&] { return !Get(job).state_reason().empty(); }));
  EXPECT_EQ(Get(job).state(), TrainingJob::PAUSED);
  EXPECT_EQ(Get(job).state_reason(), "the server's disk is full");

  ExpectFull(Publish(job, "later"));
  std::string refused;
  ExpectFull(TryCreate(refused));

  // The other job cannot start, or, if it is faster than the upload, not even be recorded as paused.
  const size_t troubles = TroublesInLog();
  Resume(other_job);
  const auto header = UploadHeaderOf("later", v1::DATASET_FORMAT_TAR, archive_);
  ExpectFull(CallUpload(*stubs_->datasets, UploadMessages(header, archive_)).status);
  disk_->Fill(0);
  ASSERT_TRUE(Eventually([&] { return TroublesInLog() > troubles; }));
  ExpectServing();
  EXPECT_NE(Get(other_job).state(), TrainingJob::FAILED);

  disk_->MakeRoom();
  EXPECT_TRUE(Publish(job, "later").ok());
  v1::UploadHeader rest = header;
  rest.set_offset(ReceivedBytes(header.name()));
  EXPECT_TRUE(CallUpload(*stubs_->datasets, UploadMessages(rest, archive_)).status.ok());
  EXPECT_TRUE(ToldOfFullDisk(Watch(job)));
  Watch(other_job);
  const std::string undisturbed = Create();
  Watch(undisturbed);
  ExpectUndisturbedEnd(job, undisturbed);
  ExpectUndisturbedEnd(other_job, undisturbed);
}

// P10: deleting works on a full disk.
TEST_F(FullDiskTest, WhatFillsTheDiskCanBeDeleted) {
  const std::string job = Create();
  Pause(job);
  v1::CancelTrainingJobRequest cancel;
  cancel.set_name(job);
  grpc::ClientContext context;
  TrainingJob cancelled;
  ASSERT_TRUE(stubs_->training->CancelTrainingJob(&context, cancel, &cancelled).ok());
  WaitForState(job, TrainingJob::CANCELLED);
  disk_->Fill(kBytesLeft);
  const auto header = UploadHeaderOf("large", v1::DATASET_FORMAT_TAR, archive_);
  ExpectFull(CallUpload(*stubs_->datasets, UploadMessages(header, archive_)).status);
  disk_->Fill(0);

  EXPECT_EQ(DeleteDataSet("datasets/large").error_message(), "");
  EXPECT_EQ(DataSets(), 1);
  disk_->Fill(0);
  EXPECT_EQ(DeleteJob(job).error_message(), "");
}

// P10: a server whose disk is full starts and serves.
TEST_F(FullDiskTest, AServerStartsAndServesAndDeletes) {
  for (const bool was_killed : {true, false}) {
    SCOPED_TRACE(was_killed);
    disk_->Fill(0);
    if (was_killed) server_->Kill();
    server_.reset();  // ends in order, unless it was killed
    disk_->Fill(0);

    Start();

    ExpectServing();
    EXPECT_EQ(DataSets(), 1);
  }
  EXPECT_EQ(DeleteDataSet("datasets/shades").error_message(), "");
  EXPECT_EQ(DataSets(), 0);
}

TEST_F(FullDiskTest, TrainingThatCouldNotBeginComesBackOnceThereIsRoom) {
  server_.reset();
  fs::remove_all(disk_->path() / "state");
  disk_->Fill(0);

  Start();

  ExpectServing();
  const auto list = [&] {
    grpc::ClientContext context;
    v1::ListDatasetsResponse response;
    return stubs_->datasets->ListDatasets(&context, {}, &response);
  };
  ExpectFull(list());
  std::string refused;
  ExpectFull(TryCreate(refused));

  disk_->MakeRoom();
  EXPECT_TRUE(Eventually([&] { return list().ok(); })) << list().error_message();
  EXPECT_EQ(DataSets(), 0);
  UploadPictures(*server_, disk_->path() / "shades", "shades");
  const std::string job = Create();
  ASSERT_TRUE(Eventually([&] { return Get(job).steps_done() > 0; }));
}

}  // namespace
}  // namespace denoise
