// From a folder of pictures to a model that is served, as a new user goes: with nothing but the
// `denoise` command.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/server_process.h"
#include "tests/e2e/training_support.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;
using denoised::v1::TrainingJob;
using nlohmann::json;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class TrainingTest : public testing::Test {
 protected:
  void SetUp() override {
    WritePictures(pictures(), 12);
    fs::create_directories(models());
    server_ = StartServer(models(), {"--state", (folder_.path() / "state").string(),
                                     "--max-micro-batch-pixels", "1024"});
  }

  fs::path pictures() const { return folder_.path() / "shades"; }
  fs::path models() const { return folder_.path() / "models"; }
  fs::path out() const { return folder_.path() / "out"; }

  ProcessResult Run(std::vector<std::string> arguments) const {
    arguments.insert(arguments.end(), {"--server", server_->address()});
    return RunDenoise(arguments);
  }

  // Runs what must work; its output.
  std::string Do(const std::vector<std::string>& arguments) const {
    const ProcessResult result = Run(arguments);
    EXPECT_EQ(result.exit_status, kExitedCleanly) << result.error;
    return result.output;
  }

  std::vector<json> Watch(const std::string& job) const {
    std::vector<json> events;
    std::istringstream lines(Do({"train", "watch", job, "--json"}));
    for (std::string line; std::getline(lines, line);) events.push_back(json::parse(line));
    return events;
  }

  TempDir folder_;
  std::unique_ptr<ServerProcess> server_;
};

std::vector<std::string> Concatenated(std::vector<std::string> a,
                                      const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST_F(TrainingTest, PicturesBecomeAModelThatIsServed) {
  EXPECT_THAT(
      Do({"datasets", "upload", pictures().string()}),
      AllOf(HasSubstr("shades"), HasSubstr("ready"), HasSubstr("dark"), HasSubstr("light")));
  EXPECT_THAT(Do({"datasets", "list"}), HasSubstr("shades"));

  const std::string watched = Do(
      Concatenated({"train", "create", "--dataset", "shades", "--watch", "--out", out().string()},
                   SmallJobFlags(17)));
  EXPECT_THAT(watched, AllOf(HasSubstr("running"), HasSubstr("step 17  loss"),
                             HasSubstr("checkpoint"), HasSubstr("succeeded")));
  EXPECT_THAT(ReadFile(out() / "samples-step-00000008.png"), StartsWith("\x89PNG"));
  EXPECT_THAT(ReadFile(out() / "loss.csv"), StartsWith("step,loss\n"));
  EXPECT_THAT(ReadFile(out() / "loss.png"), StartsWith("\x89PNG"));
  EXPECT_THAT(Do({"train", "checkpoints", "1"}), HasSubstr("17"));

  EXPECT_THAT(Do({"train", "publish", "1", "--model", "shades"}), HasSubstr("16 x 16 pixels"));
  EXPECT_THAT(Do({"models"}), HasSubstr("shades"));
  Do({"generate", "--model", "shades", "--class-label", "light", "--steps", "3", "--out",
      out().string(), "--overwrite", "--guidance-scale", "2"});
  EXPECT_THAT(ReadFile(out() / "image-0.png"), StartsWith("\x89PNG"));

  EXPECT_THAT(Do({"evaluate", "--model", "shades", "--dataset", "shades", "--samples", "8",
                  "--steps", "2", "--nearest-neighbours", "3", "--bits-per-dim", "2", "--out",
                  out().string(), "--overwrite"}),
              AllOf(HasSubstr("Frechet distance"), HasSubstr("bits/dim")));
}

TEST_F(TrainingTest, AModelThatWasPublishedIsThereAfterARestart) {
  UploadPictures(*server_, pictures(), "shades");
  Do(Concatenated({"train", "create", "-d", "shades", "--watch"}, SmallJobFlags(2)));
  Do({"train", "publish", "1", "--model", "shades"});
  const std::string before = Do({"models", "shades", "--json"});
  server_.reset();
  server_ = StartServer(models(), {"--state", (folder_.path() / "state").string()});
  EXPECT_EQ(Do({"models", "shades", "--json"}), before);
  EXPECT_THAT(Do({"train", "list"}), HasSubstr("succeeded"));
}

TEST_F(TrainingTest, AServedModelIsTrainedFurther) {
  UploadPictures(*server_, pictures(), "shades");
  Do(Concatenated({"train", "create", "-d", "shades", "--watch"}, SmallJobFlags(2)));
  Do({"train", "publish", "1", "--model", "shades"});
  Do({"train", "create", "-d", "shades", "--base-model", "shades", "-n", "3", "-b", "4",
      "--watch"});
  Do({"train", "publish", "2", "--model", "shades"});
  EXPECT_THAT(Do({"train", "list"}), AllOf(HasSubstr("3/3"), HasSubstr("2/2")));
}

TEST_F(TrainingTest, AJobIsPausedResumedAndCancelled) {
  UploadPictures(*server_, pictures(), "shades");
  Do(Concatenated({"train", "create", "-d", "shades"}, SmallJobFlags(100000)));
  Do({"train", "pause", "1"});
  const TrainingStubs stubs(*server_);
  const auto expect_state = [&](TrainingJob::State state, const std::string& name) {
    WaitForState(*stubs.training, "trainingJobs/1", state);
    EXPECT_THAT(Do({"train", "get", "1"}), HasSubstr("state       " + name));
  };
  expect_state(TrainingJob::PAUSED, "paused");
  EXPECT_THAT(Do({"train", "list", "--state", "paused"}), HasSubstr("paused"));
  Do({"train", "resume", "1"});
  expect_state(TrainingJob::RUNNING, "running");
  Do({"train", "cancel", "1"});
  expect_state(TrainingJob::CANCELLED, "cancelled");
  EXPECT_EQ(Run({"train", "resume", "1"}).exit_status, (ExitStatus{.code = 1}));
  Do({"train", "delete", "1"});
  EXPECT_EQ(Run({"train", "get", "1"}).exit_status, (ExitStatus{.code = 5}));
}

TEST_F(TrainingTest, EveryEventIsToldOnceAndInOrder) {
  UploadPictures(*server_, pictures(), "shades");
  Do(Concatenated({"train", "create", "-d", "shades", "--watch"}, SmallJobFlags(17)));
  const std::vector<json> events = Watch("1");
  std::vector<std::string> checkpoints, grids;
  for (size_t i = 0; i < events.size(); ++i) {
    EXPECT_EQ(events[i]["sequence"], std::to_string(i + 1));
    if (events[i].contains("checkpoint")) checkpoints.push_back(events[i]["checkpoint"]["step"]);
    if (events[i].contains("sample_grid")) grids.push_back(events[i]["sample_grid"]["step"]);
  }
  EXPECT_THAT(checkpoints, testing::ElementsAre("5", "10", "15", "17"));
  EXPECT_THAT(grids, testing::ElementsAre("8", "16", "17"));
  EXPECT_EQ(events.back()["state_change"]["state"], "SUCCEEDED");
}

TEST_F(TrainingTest, WrongSettingsAreNamedByTheirFlags) {
  UploadPictures(*server_, pictures(), "shades");
  const std::vector<std::string> network = {"--height", "16", "--width", "16"};
  const auto create = [&](const std::vector<std::string>& flags) {
    return Run(Concatenated(Concatenated({"train", "create"}, network), flags));
  };
  ProcessResult result =
      create({"-d", "shades", "-n", "0", "--learning-rate", "nan", "--ema-decays", "0.9,1"});
  EXPECT_EQ(result.exit_status, (ExitStatus{.code = 2}));
  EXPECT_THAT(result.error, AllOf(HasSubstr("--max-steps:"), HasSubstr("--learning-rate:"),
                                  HasSubstr("--ema-decays[1]:")));
  result = create(
      {"-d", "shades", "-n", "1", "--loss", "variational-bound", "--noise-schedule", "flow"});
  EXPECT_EQ(result.exit_status, (ExitStatus{.code = 2}));
  EXPECT_THAT(result.error, HasSubstr("--loss:"));
  result = create({"-d", "shades", "-n", "1", "--sampler", "ddim", "--sigma-spacing", "karras"});
  EXPECT_EQ(result.exit_status, (ExitStatus{.code = 2}));
  EXPECT_THAT(result.error, HasSubstr("--sigma-spacing:"));
  result = create({"-d", "shades", "-n", "1", "--micro-batch-size", "5"});
  EXPECT_EQ(result.exit_status, (ExitStatus{.code = 2}));
  EXPECT_THAT(result.error, HasSubstr("--micro-batch-size: must be at most 4"));
  EXPECT_EQ(create({"-d", "nothing", "-n", "1"}).exit_status, (ExitStatus{.code = 5}));
}

TEST_F(TrainingTest, WithoutStateThereIsNoTraining) {
  const auto plain = StartServer(ModelsFolder().AddGuided().path());
  const ProcessResult result = RunDenoise({"train", "list", "--server", plain->address()});
  EXPECT_EQ(result.exit_status, (ExitStatus{.code = 1}));
  EXPECT_THAT(result.error, HasSubstr("--state"));
}

TEST_F(TrainingTest, OneServerOwnsAStateFolder) {
  const auto second = ServerProcess::Start(
      models(), {"--state", (folder_.path() / "state").string(), "--threads", "1"});
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("another server"));
  EXPECT_THAT(std::string(second.status().message()), Not(HasSubstr("model loaded")));
}

}  // namespace
}  // namespace denoise
