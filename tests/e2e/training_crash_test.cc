// kill -9 at any moment: no event that a watcher has received is lost or repeated, and a job ends
// with the very weights of one that nobody disturbed.
//
// The test follows the job's events, so it does not matter how fast the machine is: a crash comes
// after an event that has been received, and a job that may not lose another run is waited for.
#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <functional>
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
// About one step of the job, which tells of more than 500 events in all: however far the server
// gets before it is killed, the job is not over before the last crash.
constexpr int kEventsPerCrash = 8;
// After 10 runs that were lost without another checkpoint the server gives the job up.
constexpr int kMaxLostRuns = 8;
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

  // Receives the events of `job` until `enough()`, which is asked before the first and after each
  // one; all of them where the job ends first. Each follows the one before, and repeats nothing
  // that was told before a crash.
  void Listen(const std::string& job, const std::function<bool()>& enough) {
    if (enough()) return;
    v1::WatchTrainingJobRequest request;
    request.set_name(job);
    request.set_resume_after(static_cast<int64_t>(heard_.size()));
    grpc::ClientContext context;
    const auto reader = stubs_->training->WatchTrainingJob(&context, request);
    bool cancelled = false;
    for (v1::TrainingEvent event; reader->Read(&event);) {
      if (cancelled) continue;
      ASSERT_EQ(event.sequence(), static_cast<int64_t>(heard_.size()) + 1);
      heard_.push_back(event);
      cancelled = enough();
      if (cancelled) context.TryCancel();
    }
    const grpc::Status status = reader->Finish();
    EXPECT_TRUE(status.ok() || cancelled) << status.error_message();
  }
  void ListenToTheEnd(const std::string& job) {
    Listen(job, [] { return false; });
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
  std::uniform_int_distribution<size_t> more_events(0, kEventsPerCrash - 1);
  std::uniform_int_distribution<int> more_milliseconds(0, 20);
  std::string newest_checkpoint;
  int while_training = 0, lost_runs = 0;
  for (int crash = 0; crash < kCrashes; ++crash) {
    const std::string found = Get(job).latest_checkpoint();
    lost_runs = found == newest_checkpoint ? lost_runs + 1 : 0;
    newest_checkpoint = found;
    // Now and then in the middle of a publication: the model of that name is whole or absent.
    std::thread publisher;
    if (crash % 5 == 4) publisher = std::thread([&] { Publish(job, "disturbed"); });
    const size_t events = static_cast<size_t>(crash) * kEventsPerCrash + more_events(random);
    Listen(job, [&] { return heard_.size() >= events; });
    if (lost_runs >= kMaxLostRuns) {
      Listen(job, [&] { return Get(job).latest_checkpoint() != newest_checkpoint; });
    }
    if (Get(job).state() == v1::TrainingJob::RUNNING) ++while_training;
    // Anywhere between this event and one of the next; nothing depends on where.
    absl::SleepFor(absl::Milliseconds(more_milliseconds(random)));
    server_->Kill();
    if (publisher.joinable()) publisher.join();
    Start();
    if (HasFatalFailure()) return;
  }
  EXPECT_GE(while_training, kCrashes / 2) << "the job is too short to be disturbed";
  ListenToTheEnd(job);
  ASSERT_EQ(Get(job).state(), v1::TrainingJob::SUCCEEDED);
  EXPECT_EQ(Get(job).steps_done(), kMaxSteps);
  ExpectNoStepTwice(heard_);
  const std::vector<v1::TrainingEvent> told = std::exchange(heard_, {});
  ListenToTheEnd(job);
  ASSERT_EQ(heard_.size(), told.size());
  for (size_t i = 0; i < told.size(); ++i) {
    EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(heard_[i], told[i]))
        << told[i].DebugString();
  }

  heard_.clear();
  const std::string undisturbed = Create(/*seed=*/7);
  ListenToTheEnd(undisturbed);
  EXPECT_EQ(Losses(heard_), Losses(told));
  ASSERT_TRUE(Publish(job, "disturbed").ok());
  ASSERT_TRUE(Publish(undisturbed, "undisturbed").ok());
  EXPECT_TRUE(ReadFile(models() / "disturbed" / kWeights) ==
              ReadFile(models() / "undisturbed" / kWeights))
      << "the weights differ";
}

}  // namespace
}  // namespace denoise
