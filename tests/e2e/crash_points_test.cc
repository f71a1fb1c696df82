// kill -9 at any change of a file, on the ways of a data set and a job from their arrival to their
// deletion: the next server loses nothing, sets nothing aside, and leaves nothing behind.
//
// The server runs with a library (kill_at_change.cc) that kills it at a given change. The test
// takes points all over the run, other ones than in the run before it; CRASH_POINTS=N takes N.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/data/folder_tar.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/server_process.h"
#include "tests/e2e/training_support.h"
#include "tests/e2e/upload_call.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;
namespace v1 = denoised::v1;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

constexpr int kPictures = 3;  // of each class
constexpr int kDefaultPoints = 12;

std::string TarOf(const fs::path& folder) {
  auto tar = *FolderTar::Open(folder);
  std::string bytes(static_cast<size_t>(tar->size()), '\0');
  for (size_t done = 0; done < bytes.size();) {
    done += *tar->Read({bytes.data() + done, bytes.size() - done});
  }
  return bytes;
}

std::vector<std::string> NamesIn(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code absent;
  for (const auto& entry : fs::directory_iterator(folder, absent)) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

class CrashPointsTest : public testing::Test {
 protected:
  CrashPointsTest() {
    WritePictures(folder_.path() / "shades", kPictures);
    archive_ = TarOf(folder_.path() / "shades");
  }

  // A server on the folders of this run; null where it has been killed before it listens.
  std::unique_ptr<ServerProcess> Start() {
    auto server = ServerProcess::Start(models(), {"--threads", "1", "--state", state().string()});
    return server.ok() ? *std::move(server) : nullptr;
  }

  // The same, to be killed at a change; 0: never.
  std::unique_ptr<ServerProcess> StartToBeKilled(int change) {
    setenv("KILL_AT_CHANGE", absl::StrCat(change).c_str(), 1);
    setenv("COUNT_CHANGES_IN", counts().c_str(), 1);
    setenv("LD_PRELOAD", KILL_AT_CHANGE_LIBRARY, 1);
    auto server = Start();
    for (const char* name : {"KILL_AT_CHANGE", "COUNT_CHANGES_IN", "LD_PRELOAD"}) unsetenv(name);
    return server;
  }

  // Everything that changes files, whatever comes of it.
  void DoEverything(const ServerProcess& server) {
    const TrainingStubs stubs(server);
    Upload(stubs, "shades");
    Upload(stubs, "spare");
    const std::optional<std::string> job = Train(stubs);
    if (job) {
      WatchToTheEnd(stubs, *job);
      Publish(stubs, *job);
      DeleteJob(stubs, *job);
    }
    for (const char* name : {"shades", "spare"}) DeleteDataSet(stubs, name);
  }

  // From where an earlier upload has stopped.
  grpc::Status Upload(const TrainingStubs& stubs, const std::string& name) {
    auto header = UploadHeaderOf(name, v1::DATASET_FORMAT_TAR, archive_);
    v1::GetDatasetRequest request;
    request.set_name(header.name());
    grpc::ClientContext context;
    v1::Dataset begun;
    const bool exists = stubs.datasets->GetDataset(&context, request, &begun).ok();
    if (exists && begun.state() == v1::Dataset::UPLOADING) {
      header.set_offset(begun.received_bytes());
    }
    return CallUpload(*stubs.datasets, UploadMessages(header, archive_)).status;
  }

  std::optional<std::string> Train(const TrainingStubs& stubs) {
    v1::CreateTrainingJobRequest request = SmallJob("shades", /*max_steps=*/4);
    request.mutable_training()->mutable_checkpoints()->set_every_n_steps(2);
    request.mutable_training()->mutable_samples()->set_every_n_steps(4);
    grpc::ClientContext context;
    v1::TrainingJob job;
    if (!stubs.training->CreateTrainingJob(&context, request, &job).ok()) return std::nullopt;
    return job.name();
  }

  void WatchToTheEnd(const TrainingStubs& stubs, const std::string& job) {
    v1::WatchTrainingJobRequest request;
    request.set_name(job);
    grpc::ClientContext context;
    const auto reader = stubs.training->WatchTrainingJob(&context, request);
    v1::TrainingEvent event;
    while (reader->Read(&event)) continue;
    reader->Finish().ok();
  }

  grpc::Status Publish(const TrainingStubs& stubs, const std::string& job) {
    v1::PublishModelRequest request;
    request.set_source(job);
    request.set_model("models/shades");
    grpc::ClientContext context;
    v1::Model response;
    return stubs.training->PublishModel(&context, request, &response);
  }

  grpc::Status DeleteJob(const TrainingStubs& stubs, const std::string& job) {
    v1::DeleteTrainingJobRequest request;
    request.set_name(job);
    grpc::ClientContext context;
    google::protobuf::Empty response;
    return stubs.training->DeleteTrainingJob(&context, request, &response);
  }

  grpc::Status DeleteDataSet(const TrainingStubs& stubs, const std::string& name) {
    v1::DeleteDatasetRequest request;
    request.set_name("datasets/" + name);
    grpc::ClientContext context;
    google::protobuf::Empty response;
    return stubs.datasets->DeleteDataset(&context, request, &response);
  }

  std::vector<v1::TrainingJob> Jobs(const TrainingStubs& stubs) {
    grpc::ClientContext context;
    v1::ListTrainingJobsResponse response;
    EXPECT_TRUE(stubs.training->ListTrainingJobs(&context, {}, &response).ok());
    return {response.jobs().begin(), response.jobs().end()};
  }

  std::vector<v1::Dataset> DataSets(const TrainingStubs& stubs) {
    grpc::ClientContext context;
    v1::ListDatasetsResponse response;
    EXPECT_TRUE(stubs.datasets->ListDatasets(&context, {}, &response).ok());
    return {response.datasets().begin(), response.datasets().end()};
  }

  static void Resume(const TrainingStubs& stubs, const std::string& job) {
    grpc::ClientContext context;
    v1::ResumeTrainingJobRequest request;
    request.set_name(job);
    v1::TrainingJob response;
    EXPECT_TRUE(stubs.training->ResumeTrainingJob(&context, request, &response).ok());
  }

  // What the next server finds can be used, or be done again.
  void ExpectNothingIsLost(const ServerProcess& server) {
    EXPECT_THAT(server.Log(), Not(HasSubstr("model left out")));
    const TrainingStubs stubs(server);
    for (const v1::Dataset& data_set : DataSets(stubs)) {
      EXPECT_NE(data_set.state(), v1::Dataset::FAILED) << data_set.error();
      if (data_set.state() == v1::Dataset::READY) {
        EXPECT_EQ(data_set.report().pictures(), 2 * kPictures);
      }
    }
    for (const v1::TrainingJob& job : Jobs(stubs)) {
      // Its files were found, but no row of the database: it waits for somebody to resume it.
      if (job.state() == v1::TrainingJob::PAUSED) Resume(stubs, job.name());
      const v1::TrainingJob ended = WaitForEnd(*stubs.training, job.name());
      EXPECT_EQ(ended.state(), v1::TrainingJob::SUCCEEDED) << ended.state_reason();
      EXPECT_TRUE(Publish(stubs, job.name()).ok());
      EXPECT_TRUE(DeleteJob(stubs, job.name()).ok());
    }
    for (const char* name : {"shades", "spare"}) {
      const grpc::Status status = Upload(stubs, name);
      EXPECT_TRUE(status.ok() || status.error_code() == grpc::StatusCode::ALREADY_EXISTS)
          << status.error_message();
      EXPECT_TRUE(DeleteDataSet(stubs, name).ok()) << name;
    }
    EXPECT_THAT(DataSets(stubs), IsEmpty());
    EXPECT_THAT(NamesIn(state() / "datasets"), IsEmpty());
    EXPECT_THAT(NamesIn(state() / "jobs"), IsEmpty());
    ExpectNothingIsSetAside();
    for (const std::string& name : NamesIn(models())) {
      EXPECT_THAT(name, AnyOf("shades", ".lock"));
    }
  }

  // But a database that was being made, before there was anything in it.
  void ExpectNothingIsSetAside() {
    std::error_code absent;
    for (const auto& entry : fs::recursive_directory_iterator(state() / "set-aside", absent)) {
      if (entry.is_directory()) continue;
      EXPECT_THAT(entry.path().filename().string(), StartsWith("state.db"));
    }
  }

  int CountChanges() {
    BeginRun("count");
    auto server = StartToBeKilled(0);
    DoEverything(*server);
    server.reset();
    int count = 0;
    EXPECT_TRUE(absl::SimpleAtoi(ReadFile(counts()), &count));
    return count;
  }

  void BeginRun(const std::string& name) {
    run_ = folder_.path() / name;
    fs::create_directories(models());
  }
  fs::path models() const { return run_ / "models"; }
  fs::path state() const { return run_ / "state"; }
  fs::path counts() const { return folder_.path() / "changes"; }

  TempDir folder_;
  fs::path run_;
  std::string archive_;
};

TEST_F(CrashPointsTest, NothingIsLostOrLeftBehindWhereverTheServerIsKilled) {
  const int changes = CountChanges();
  ASSERT_GT(changes, 100) << "the library does not see the server's writes";
  int points = kDefaultPoints;
  if (const char* text = std::getenv("CRASH_POINTS")) {
    ASSERT_TRUE(absl::SimpleAtoi(text, &points));
  }
  std::mt19937 random{std::random_device()()};
  int killed = 0;
  for (int point = 0; point < points; ++point) {
    const int first = 1 + static_cast<int>(int64_t{changes} * point / points);
    const int last = static_cast<int>(int64_t{changes} * (point + 1) / points);
    const int change = std::uniform_int_distribution<int>(first, std::max(first, last))(random);
    SCOPED_TRACE(absl::StrCat("killed at change ", change, " of ", changes));
    BeginRun(absl::StrCat("run", point));
    auto server = StartToBeKilled(change);
    if (server) DoEverything(*server);
    if (!server || server->process().Wait(absl::ZeroDuration())) ++killed;
    if (server && server->process().running()) server->Kill();  // it had fewer changes to make
    server.reset();
    server = Start();
    ASSERT_TRUE(server) << "the next server does not start";
    ExpectNothingIsLost(*server);
    server->Kill();  // quicker than its farewells to the connections
    server.reset();
    if (HasFailure()) return;
    fs::remove_all(run_);
  }
  EXPECT_GE(killed, points / 2);
}

}  // namespace
}  // namespace denoise
