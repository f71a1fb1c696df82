// `denoise bench` with a server of its own: the real one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/e2e/e2e_support.h"

namespace denoise {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

class BenchTest : public testing::Test {
 protected:
  BenchTest() {
    models_.AddGuided();
    WriteFile(File("mix"), R"([
      {"name": "plain", "weight": 2, "steps": 3, "frames": 1},
      {"name": "guided", "steps": 4, "guidance_scale": 2, "deadline_seconds": 3600}])");
  }

  std::string File(const std::string& name) const { return (folder_.path() / name).string(); }

  ProcessResult Bench(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {"bench", "--models", models_.path().string()});
    arguments.insert(arguments.end(), {"--", "--threads", "1"});
    return RunDenoise(arguments);
  }

  ModelsFolder models_;
  TempDir folder_;
};

TEST_F(BenchTest, MeasuresAServerOfItsOwn) {
  const ProcessResult result =
      Bench({"--mix", File("mix"), "--rate", "50", "--requests", "12", "--json", File("run.json"),
             "--plot", File("run.png"), "--record", File("trace")});
  ASSERT_EQ(result.exit_status, kExitedCleanly) << result.error;
  EXPECT_THAT(result.output,
              AllOf(HasSubstr("12: 12 succeeded, 12 of them in time"), HasSubstr("guided")));
  EXPECT_THAT(ReadFile(File("run.png")), StartsWith("\x89PNG"));
  const json report = json::parse(ReadFile(File("run.json")));
  EXPECT_EQ(report["all"]["images"], 12);
  EXPECT_GT(report["server"]["evaluations"], 0);
  double rows = 0;
  for (const json& outcome : report["outcomes"]) {
    EXPECT_EQ(outcome["status"], "OK");
    EXPECT_FALSE(outcome["queue_wait_seconds"].is_null());
    EXPECT_EQ(outcome["first_frame_seconds"].is_null(), outcome["name"] == "guided");
    EXPECT_EQ(outcome["row_evaluations"], outcome["name"] == "guided" ? 8 : 3);
    rows += outcome["row_evaluations"].get<double>();
  }
  // The server counts the same rows, though maybe a moment after it has sent an image.
  constexpr double kMostRowsOfAnEvaluation = 16;
  EXPECT_NEAR(report["server"]["rows"].get<double>(), rows, kMostRowsOfAnEvaluation);
}

TEST_F(BenchTest, AServerThatDoesNotStartSaysWhy) {
  const ProcessResult result = RunDenoise(
      {"bench", "--models", models_.path().string(), "--rate", "1", "--", "--no-such-flag"});
  EXPECT_EQ(result.exit_status, (ExitStatus{.code = 1}));
  EXPECT_THAT(result.error, AllOf(HasSubstr("the server that was started ended before it listened"),
                                  HasSubstr("--no-such-flag")));
}

}  // namespace
}  // namespace denoise
