// Training on several machines: a server that leads and `denoised rank`, as processes on loopback.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <regex>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/server_process.h"
#include "tests/e2e/training_support.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;
namespace v1 = denoised::v1;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kWaits[] = "waits for 1 other rank; `denoised rank` starts one";
constexpr int kSteps = 200;  // more than it takes before a signal arrives

int CountOf(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

class TrainingRanksTest : public testing::Test {
 protected:
  void SetUp() override { WritePictures(folder_.path() / "shades", 6); }

  fs::path models() const {
    fs::create_directories(folder_.path() / "models");
    return folder_.path() / "models";
  }

  // A server that leads, with its data set. `port` 0: any.
  void Lead(int port, const std::vector<std::string>& flags) {
    std::vector<std::string> all = {"--state", (folder_.path() / "state").string(), "--rank-listen",
                                    absl::StrCat("127.0.0.1:", port)};
    all.insert(all.end(), flags.begin(), flags.end());
    server_ = StartServer(models(), all);
    stubs_.emplace(*server_);
    std::smatch match;
    std::string log;
    ASSERT_TRUE(Eventually([&] {
      log = server_->Log();
      return std::regex_search(log, match, std::regex("can join\" port=([0-9]+)\\s"));
    })) << log;
    ASSERT_TRUE(absl::SimpleAtoi(match[1].str(), &port_));
  }

  std::unique_ptr<Subprocess> Join(const std::vector<std::string>& flags = {}) const {
    std::vector<std::string> argv = {
        DenoisedBinary(), "rank", "--join", absl::StrCat("127.0.0.1:", port_), "--threads", "1"};
    argv.insert(argv.end(), flags.begin(), flags.end());
    return Subprocess::Start(argv).value();
  }

  static void WaitUntilJoined(const std::vector<Subprocess*>& ranks) {
    for (const Subprocess* rank : ranks) {
      ASSERT_TRUE(Eventually([&] { return CountOf(rank->standard_error().text(), "joined") > 0; }))
          << rank->standard_error().text();
    }
  }

  std::string Create(int steps = kSteps) {
    v1::CreateTrainingJobRequest request = SmallJob("shades", steps);
    grpc::ClientContext context;
    v1::TrainingJob job;
    const grpc::Status status = stubs_->training->CreateTrainingJob(&context, request, &job);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return job.name();
  }

  std::string ReasonOf(const std::string& job) {
    v1::GetTrainingJobRequest request;
    request.set_name(job);
    grpc::ClientContext context;
    v1::TrainingJob now;
    EXPECT_TRUE(stubs_->training->GetTrainingJob(&context, request, &now).ok());
    return now.state_reason();
  }

  void Upload() { UploadPictures(*server_, folder_.path() / "shades", "shades"); }

  // The loss after each step, as the latest run that took it reported it. Returns once the job is
  // over, or `enough` says so.
  std::map<int64_t, double> Losses(const std::string& job,
                                   const std::function<bool(int64_t step)>& enough = {}) {
    v1::WatchTrainingJobRequest request;
    request.set_name(job);
    grpc::ClientContext context;
    const auto reader = stubs_->training->WatchTrainingJob(&context, request);
    std::map<int64_t, double> losses;
    v1::TrainingEvent event;
    while (reader->Read(&event)) {
      if (!event.has_progress()) continue;
      losses[event.progress().step()] = event.progress().loss();
      if (enough && enough(event.progress().step())) break;
    }
    context.TryCancel();
    return losses;
  }

  // Those of a server that trains alone.
  std::map<int64_t, double> LossesOfOneRank() {
    const TempDir other;
    const auto alone = StartServer(models(), {"--state", (other.path() / "state").string()});
    server_.reset();
    stubs_.emplace(*alone);
    UploadPictures(*alone, folder_.path() / "shades", "shades");
    return Losses(Create());
  }

  void ExpectSucceeded(const std::string& job, int steps = kSteps) {
    const v1::TrainingJob end = WaitForEnd(*stubs_->training, job);
    EXPECT_EQ(end.state(), v1::TrainingJob::SUCCEEDED) << end.DebugString() << server_->Log();
    EXPECT_EQ(end.progress().step(), steps);
  }

  // Sums in float32 are rounded in another order.
  static void ExpectSame(const std::map<int64_t, double>& losses,
                         const std::map<int64_t, double>& expected) {
    ASSERT_EQ(expected.size(), size_t{kSteps});
    ASSERT_EQ(losses.size(), expected.size());
    for (const auto& [step, loss] : expected) {
      EXPECT_NEAR(losses.at(step), loss, 1e-3 * loss) << "step " << step;
    }
  }

  TempDir folder_;
  std::unique_ptr<ServerProcess> server_;
  std::optional<TrainingStubs> stubs_;
  int port_ = 0;
};

TEST_F(TrainingRanksTest, FourRanksHaveTheLossesOfOne) {
  const std::map<int64_t, double> expected = LossesOfOneRank();
  Lead(0, {"--ranks", "4"});
  Upload();
  const auto a = Join({"--once"}), b = Join({"--once"}), c = Join({"--once"});
  const std::string job = Create();
  ExpectSame(Losses(job), expected);
  ExpectSucceeded(job);
  EXPECT_THAT(server_->Log(), HasSubstr("ranks=4"));
  for (const auto& rank : {a.get(), b.get(), c.get()}) {
    EXPECT_EQ(rank->Wait(kPatience), kExitedCleanly) << rank->standard_error().text();
    EXPECT_THAT(rank->standard_error().WaitForEnd(), HasSubstr("steps=200"));
  }
}

TEST_F(TrainingRanksTest, TheJobContinuesWithTheRanksThatAreLeft) {
  const std::map<int64_t, double> expected = LossesOfOneRank();
  Lead(0, {"--ranks", "3", "--min-ranks", "1", "--rank-wait-seconds", "10"});
  Upload();
  const auto lost = Join(), stays = Join();
  WaitUntilJoined({lost.get(), stays.get()});
  const std::string job = Create();
  Losses(job, [](int64_t step) { return step >= 12; });
  EXPECT_EQ(server_->Metrics().Sum("denoised_training_ranks"), 3);
  lost->Signal(SIGKILL);
  ExpectSame(Losses(job), expected);
  ExpectSucceeded(job);
  EXPECT_THAT(server_->Log(), HasSubstr("ranks=2"));
  stays->Signal(SIGTERM);
  EXPECT_EQ(stays->Wait(kPatience), kExitedCleanly);
}

TEST_F(TrainingRanksTest, TheJobWaitsForAnotherRank) {
  Lead(0, {"--ranks", "2"});
  Upload();
  auto rank = Join();
  constexpr int kManySteps = 600;
  const std::string job = Create(kManySteps);
  Losses(job, [](int64_t step) { return step >= 12; });
  rank->Signal(SIGKILL);
  EXPECT_TRUE(rank->Wait(kPatience).has_value());
  ASSERT_TRUE(Eventually([&] { return CountOf(server_->Log(), "a rank was lost") > 0; }));
  rank = Join();
  ExpectSucceeded(job, kManySteps);
  EXPECT_EQ(CountOf(server_->Log(), "ranks=2"), 2);
}

// Nothing is repeated: the steps of the two ranks add up.
TEST_F(TrainingRanksTest, ARankThatIsAskedToEndCostsNoStep) {
  constexpr int kManySteps = 600;
  Lead(0, {"--ranks", "2", "--min-ranks", "1", "--rank-wait-seconds", "10"});
  Upload();
  const auto rank = Join();
  WaitUntilJoined({rank.get()});
  const std::string job = Create(kManySteps);
  int last = 0, repeated = 0;
  std::map<int64_t, double> losses = Losses(job, [&](int64_t step) {
    if (step == 12) rank->Signal(SIGTERM);
    repeated += step <= last ? 1 : 0;
    last = static_cast<int>(step);
    return false;
  });
  EXPECT_EQ(repeated, 0);
  EXPECT_EQ(losses.size(), size_t{kManySteps});
  ExpectSucceeded(job, kManySteps);
  EXPECT_THAT(server_->Log(), HasSubstr("ranks=2")) << "it never took part";
  EXPECT_EQ(rank->Wait(kPatience), kExitedCleanly) << rank->standard_error().text();
  EXPECT_THAT(server_->Log(), HasSubstr("ranks=1")) << "it was asked too late";
  EXPECT_EQ(server_->Metrics().Sum("denoised_training_steps_total"), kManySteps);
}

TEST_F(TrainingRanksTest, RanksFollowALeaderThatStartsAgain) {
  Lead(0, {"--ranks", "2"});
  Upload();
  const auto rank = Join();
  const std::string job = Create();
  Losses(job, [](int64_t step) { return step >= 12; });
  server_->Kill();
  server_.reset();
  Lead(port_, {"--ranks", "2"});
  ExpectSucceeded(job);
  EXPECT_THAT(server_->Log(), HasSubstr("ranks=2"));
}

// Its connections stay open, and nothing is said on them.
TEST_F(TrainingRanksTest, ALeaderThatIsFrozenHoldsNoRank) {
  Lead(0, {"--ranks", "2"});
  Upload();
  const auto rank = Join();
  Losses(Create(), [](int64_t step) { return step >= 3; });
  server_->process().Signal(SIGSTOP);
  EXPECT_TRUE(Eventually([&] {
    return CountOf(rank->standard_error().text(), "no leader; trying again") > 0;
  })) << rank->standard_error().text();
  rank->Signal(SIGTERM);
  EXPECT_EQ(rank->Wait(kPatience), kExitedCleanly) << rank->standard_error().text();
  server_->process().Signal(SIGCONT);
}

TEST_F(TrainingRanksTest, ARankWithoutAPlaceEndsWithTheJobToo) {
  Lead(0, {"--ranks", "2"});
  Upload();
  const auto one = Join({"--once"}), other = Join({"--once"});
  WaitUntilJoined({one.get(), other.get()});
  ExpectSucceeded(Create());
  EXPECT_EQ(one->Wait(kPatience), kExitedCleanly) << one->standard_error().text();
  EXPECT_EQ(other->Wait(kPatience), kExitedCleanly) << other->standard_error().text();
}

TEST_F(TrainingRanksTest, AJobThatWaitsForRanksSaysSo) {
  Lead(0, {"--ranks", "2"});
  Upload();
  const std::string job = Create();
  ASSERT_TRUE(Eventually([&] { return ReasonOf(job) == kWaits; })) << ReasonOf(job);

  const auto rank = Join();
  Losses(job, [](int64_t step) { return step >= 1; });
  EXPECT_EQ(ReasonOf(job), "");
  v1::WatchTrainingJobRequest request;
  request.set_name(job);
  grpc::ClientContext context;
  const auto reader = stubs_->training->WatchTrainingJob(&context, request);
  std::vector<std::string> reasons;
  v1::TrainingEvent event;
  while (reader->Read(&event) && !event.has_progress()) {
    if (event.state_change().state() == v1::TrainingJob::RUNNING) {
      reasons.push_back(event.state_change().reason());
    }
  }
  context.TryCancel();
  EXPECT_THAT(reasons, ElementsAre("", kWaits, ""));
}

TEST_F(TrainingRanksTest, AJobThatWaitedForRanksNoLongerSaysSoOnAServerWithoutThem) {
  Lead(0, {"--ranks", "2"});
  Upload();
  const std::string job = Create();
  ASSERT_TRUE(Eventually([&] { return ReasonOf(job) == kWaits; })) << ReasonOf(job);
  server_->Kill();
  server_ = StartServer(models(), {"--state", (folder_.path() / "state").string()});
  stubs_.emplace(*server_);
  const v1::TrainingJob end = WaitForEnd(*stubs_->training, job);
  EXPECT_EQ(end.state(), v1::TrainingJob::SUCCEEDED);
  EXPECT_EQ(end.state_reason(), "");
}

TEST_F(TrainingRanksTest, AJobThatWaitsForRanksCanBeCancelled) {
  Lead(0, {"--ranks", "2"});
  Upload();
  const std::string job = Create();
  WaitForState(*stubs_->training, job, v1::TrainingJob::RUNNING);
  v1::CancelTrainingJobRequest request;
  request.set_name(job);
  grpc::ClientContext context;
  v1::TrainingJob cancelled;
  ASSERT_TRUE(stubs_->training->CancelTrainingJob(&context, request, &cancelled).ok());
  EXPECT_EQ(WaitForEnd(*stubs_->training, job).state(), v1::TrainingJob::CANCELLED);
}

TEST_F(TrainingRanksTest, WrongUseIsRefused) {
  const auto run = [](const std::vector<std::string>& flags) {
    std::vector<std::string> argv = {DenoisedBinary()};
    argv.insert(argv.end(), flags.begin(), flags.end());
    return RunProcess(argv, kPatience).value();
  };
  EXPECT_THAT(run({"rank"}).error, HasSubstr("--join is required"));
  EXPECT_EQ(run({"rank"}).exit_status.code, 2);
  const ProcessResult address = run({"rank", "--join", "nowhere"});
  EXPECT_THAT(address.error, HasSubstr("\"nowhere\" is not an address of the form HOST:PORT"));
  EXPECT_EQ(address.exit_status.code, 2);
  const ProcessResult two = run({"rank", "--join", "h:1", "--device", "cuda:0,cuda:1"});
  EXPECT_EQ(two.exit_status.code, 2) << two.error;
  const ProcessResult ranks =
      run({"--models", models().string(), "--state", "s", "--ranks", "2", "--min-ranks", "3"});
  EXPECT_THAT(ranks.error, HasSubstr("--min-ranks: must be at most --ranks"));
  EXPECT_THAT(run({"--models", models().string(), "--ranks", "2"}).error,
              HasSubstr("--ranks: needs --state"));
  const ProcessResult jobs = run(
      {"--models", models().string(), "--state", "s", "--ranks", "2", "--max-running-jobs", "2"});
  EXPECT_THAT(jobs.error, HasSubstr("--ranks: needs --max-running-jobs 1"));
  const ProcessResult patient = run({"--models", models().string(), "--state", "s", "--ranks", "2",
                                     "--rank-timeout-seconds", "600"});
  EXPECT_THAT(patient.error, HasSubstr("--rank-timeout-seconds: must be less than"));
  EXPECT_THAT(run({"rank", "--help"}).output, HasSubstr("denoised rank --join trainer:29500"));
}

}  // namespace
}  // namespace denoise
