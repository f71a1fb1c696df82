// kill -9 at any moment: no event that anybody has heard of is lost or doubled, and a job ends with
// the very weights of one that nobody disturbed.
#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/server_process.h"
#include "tests/e2e/training_support.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;
namespace v1 = denoised::v1;

constexpr int kCrashes = 50;
// A job under which the server ends ten times without a further checkpoint has failed: so that this
// holds on a slow machine, too, the server lives that long now and then.
constexpr int kCrashesWithoutCheckpoint = 8;
constexpr int kMaxSteps = 400;
constexpr char kWeights[] = "unet/diffusion_pytorch_model.safetensors";

class TrainingCrashTest : public testing::Test {
 protected:
  void SetUp() override {
    WritePictures(folder_.path() / "shades", 6);
    fs::create_directories(models());
    Start();
    UploadPictures(*server_, folder_.path() / "shades", "shades");
  }

  fs::path models() const { return folder_.path() / "models"; }

  void Start() {
    server_ = StartServer(models(), {"--state", (folder_.path() / "state").string()});
    stubs_.emplace(*server_);
  }

  std::string Create(uint64_t seed) {
    v1::CreateTrainingJobRequest request = SmallJob("shades", kMaxSteps);
    request.mutable_training()->set_seed(seed);
    grpc::ClientContext context;
    v1::TrainingJob job;
    const grpc::Status status = stubs_->training->CreateTrainingJob(&context, request, &job);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return job.name();
  }

  // Hears the events of `job` that come within `time`, all of them where that is infinite. Each
  // follows the one before, and repeats nothing that was told before a crash.
  void Listen(const std::string& job, absl::Duration time) {
    v1::WatchTrainingJobRequest request;
    request.set_name(job);
    request.set_resume_after(static_cast<int64_t>(heard_.size()));
    grpc::ClientContext context;
    if (time < absl::InfiniteDuration()) {
      context.set_deadline(absl::ToChronoTime(absl::Now() + time));
    }
    const auto reader = stubs_->training->WatchTrainingJob(&context, request);
    for (v1::TrainingEvent event; reader->Read(&event);) {
      ASSERT_EQ(event.sequence(), static_cast<int64_t>(heard_.size()) + 1);
      heard_.push_back(event);
    }
    const grpc::Status status = reader->Finish();
    EXPECT_TRUE(status.ok() || status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED)
        << status.error_message();
  }

  void ListenUntilACheckpoint(const std::string& job) {
    const auto checkpoints = [this] {
      return std::count_if(heard_.begin(), heard_.end(),
                           [](const v1::TrainingEvent& event) { return event.has_checkpoint(); });
    };
    const auto before = checkpoints();
    while (checkpoints() == before && Get(job).state() == v1::TrainingJob::RUNNING) {
      Listen(job, absl::Milliseconds(100));
    }
  }

  v1::TrainingJob Get(const std::string& job) {
    v1::GetTrainingJobRequest request;
    request.set_name(job);
    grpc::ClientContext context;
    v1::TrainingJob response;
    EXPECT_TRUE(stubs_->training->GetTrainingJob(&context, request, &response).ok());
    return response;
  }

  grpc::Status Publish(const std::string& source, const std::string& model) {
    v1::PublishModelRequest request;
    request.set_source(source);
    request.set_model("models/" + model);
    grpc::ClientContext context;
    v1::Model response;
    return stubs_->training->PublishModel(&context, request, &response);
  }

  TempDir folder_;
  std::unique_ptr<ServerProcess> server_;
  std::optional<TrainingStubs> stubs_;
  std::vector<v1::TrainingEvent> heard_;
};

// What happened at a step is told once.
void ExpectNoStepTwice(const std::vector<v1::TrainingEvent>& events) {
  std::map<std::pair<int, int64_t>, int> told;
  for (const v1::TrainingEvent& event : events) {
    int64_t step = 0;
    if (event.has_progress()) step = event.progress().step();
    if (event.has_sample_grid()) step = event.sample_grid().step();
    if (event.has_checkpoint()) step = event.checkpoint().step();
    if (step == 0) continue;
    EXPECT_EQ(++told[std::pair(event.event_case(), step)], 1) << event.DebugString();
  }
}

// The losses of every progress, by step.
std::map<int64_t, double> Losses(const std::vector<v1::TrainingEvent>& events) {
  std::map<int64_t, double> losses;
  for (const v1::TrainingEvent& event : events) {
    if (event.has_progress()) losses[event.progress().step()] = event.progress().loss();
  }
  return losses;
}

TEST_F(TrainingCrashTest, AJobThatIsKilledOverAndOverEndsAsAnUndisturbedOne) {
  const std::string job = Create(/*seed=*/7);
  std::mt19937 random(2026);
  std::uniform_int_distribution<int> milliseconds(0, 400);
  int crashes = 0, while_training = 0;
  while (crashes < kCrashes) {
    // Now and then in the middle of a publication: the model of that name is whole or absent.
    std::thread publisher;
    if (crashes % 5 == 4) publisher = std::thread([&] { Publish(job, "disturbed"); });
    if (crashes % kCrashesWithoutCheckpoint == kCrashesWithoutCheckpoint - 1) {
      ListenUntilACheckpoint(job);
    }
    Listen(job, absl::Milliseconds(milliseconds(random)));
    if (Get(job).state() == v1::TrainingJob::RUNNING) ++while_training;
    server_->Kill();
    if (publisher.joinable()) publisher.join();
    ++crashes;
    Start();
    if (HasFatalFailure()) return;
  }
  EXPECT_GE(while_training, kCrashes / 2) << "the job is too short to be disturbed";
  Listen(job, absl::InfiniteDuration());
  ASSERT_EQ(Get(job).state(), v1::TrainingJob::SUCCEEDED);
  EXPECT_EQ(Get(job).steps_done(), kMaxSteps);
  ExpectNoStepTwice(heard_);
  const std::vector<v1::TrainingEvent> told = std::exchange(heard_, {});
  Listen(job, absl::InfiniteDuration());
  ASSERT_EQ(heard_.size(), told.size());
  for (size_t i = 0; i < told.size(); ++i) {
    EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(heard_[i], told[i]))
        << told[i].DebugString();
  }

  heard_.clear();
  const std::string undisturbed = Create(/*seed=*/7);
  Listen(undisturbed, absl::InfiniteDuration());
  EXPECT_EQ(Losses(heard_), Losses(told));
  ASSERT_TRUE(Publish(job, "disturbed").ok());
  ASSERT_TRUE(Publish(undisturbed, "undisturbed").ok());
  EXPECT_TRUE(ReadFile(models() / "disturbed" / kWeights) ==
              ReadFile(models() / "undisturbed" / kWeights))
      << "the weights differ";
}

}  // namespace
}  // namespace denoise
