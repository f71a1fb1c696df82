// `denoise bench`, as people and scripts use it, against a fake server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "core/image/image.h"
#include "google/rpc/error_details.pb.h"
#include "tests/client/fake_server.h"
#include "tests/support/subprocess.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr absl::Duration kPatience = absl::Minutes(3);

class CliBenchTest : public testing::Test {
 protected:
  // Against the fake server, with a mix for its model, twelve requests at once.
  ProcessResult Bench(const std::vector<std::string>& more = {}) {
    WriteFile(mix_, R"([{"name": "few", "model": "shapes", "steps": 2, "frames": 1},
                        {"name": "many", "model": "shapes", "steps": 6, "tenant": "acme",
                         "priority": "batch"}])");
    std::vector<std::string> arguments = {
        "--server", fake_.address(), "--mix", mix_.string(), "--requests", "12", "--seed", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Run(arguments);
  }

  static ProcessResult Run(const std::vector<std::string>& arguments) {
    std::vector<std::string> argv = {DENOISE_BINARY, "bench"};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    auto result = RunProcess(argv, kPatience);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? *std::move(result) : ProcessResult{{.code = -1}, "", ""};
  }

  std::string File(const std::string& name) const { return (folder_.path() / name).string(); }

  TempDir folder_;
  const std::filesystem::path mix_ = folder_.path() / "mix.json";
  FakeServer fake_;
};

TEST_F(CliBenchTest, PrintsWritesAndDrawsWhatItMeasured) {
  const ProcessResult result =
      Bench({"--rate", "1000", "--tenant-header", "x-tenant", "--json", File("run.json"), "--plot",
             File("run.png"), "--record", File("trace.jsonl")});
  ASSERT_EQ(result.exit_status, kExitedCleanly) << result.error;
  EXPECT_THAT(result.output,
              AllOf(HasSubstr("12: 12 succeeded, 12 of them in time"), HasSubstr("queue wait"),
                    HasSubstr("priority batch"), HasSubstr("tenant acme"), HasSubstr("few")));
  const json report = json::parse(ReadFile(File("run.json")));
  EXPECT_EQ(report["all"]["succeeded"], 12);
  EXPECT_EQ(report["outcomes"].size(), 12u);
  EXPECT_EQ(report["all"]["queue_wait_seconds"]["p99"], 0.005);
  EXPECT_TRUE(report["server"].is_null()) << "the fake server has no activity";
  EXPECT_GT(DecodeImage(ReadFile(File("run.png")), 1 << 24)->width, 500);
}

TEST_F(CliBenchTest, OfSeveralModelsTheMixNamesOne) {
  denoised::v1::Model second;
  second.set_name("models/zebras");
  fake_.SetModel(second);
  const ProcessResult result = Run({"--server", fake_.address(), "--rate", "1"});
  EXPECT_EQ(result.exit_status.code, 2);
  EXPECT_THAT(result.error, HasSubstr("--mix: must name each request's \"model\", which is "
                                      "required, as several models are served: "));
}

TEST_F(CliBenchTest, ARecordedTraceIsRepeatedExactly) {
  ASSERT_EQ(Bench({"--rate", "1000", "--tenant-header", "x", "--record", File("t")}).exit_status,
            kExitedCleanly);
  const auto sent = fake_.requests();
  const ProcessResult again = Run(
      {"--server", fake_.address(), "--trace", File("t"), "--tenant-header", "x", "--markdown"});
  ASSERT_EQ(again.exit_status, kExitedCleanly) << again.error;
  EXPECT_THAT(again.output, HasSubstr("| seconds | of | p50 | p95 | p99 | max |\n|---|"));
  std::multiset<std::string> first, second;  // calls that are sent together may overtake each other
  const auto all = fake_.requests();
  constexpr size_t kTried = 2;  // one of each entry, before the clock starts
  for (size_t i = kTried; i < sent.size(); ++i) first.insert(sent[i].SerializeAsString());
  for (size_t i = sent.size() + kTried; i < all.size(); ++i) {
    second.insert(all[i].SerializeAsString());
  }
  EXPECT_EQ(first.size(), 12u);
  EXPECT_EQ(first, second);
}

TEST_F(CliBenchTest, MeasuresTheCapacityThatALoadIsAPartOf) {
  const ProcessResult result =
      Bench({"--load", "0.9", "--capacity-calls", "2", "--tenant-header", "x"});
  ASSERT_EQ(result.exit_status, kExitedCleanly) << result.error;
  EXPECT_THAT(result.error, AllOf(HasSubstr("measuring the capacity with 2 calls in flight"),
                                  HasSubstr("load 0.9 of the capacity")));
  EXPECT_EQ(fake_.requests().size(), 2u + 5 * 2 + 12);
}

TEST_F(CliBenchTest, RefusalsAreResults) {
  google::rpc::ErrorInfo info;
  info.set_reason("QUEUE_FULL");
  fake_.answer = StatusWithDetail(grpc::StatusCode::UNAVAILABLE, "the queue is full", info);
  const ProcessResult result =
      Bench({"--rate", "1000", "--tenant-header", "x", "--plot", File("run.png")});
  ASSERT_EQ(result.exit_status, kExitedCleanly) << result.error;
  EXPECT_THAT(result.output, AllOf(HasSubstr("12: 0 succeeded"), HasSubstr("QUEUE_FULL"),
                                   HasSubstr("the queue is full")));
  EXPECT_THAT(result.error, HasSubstr("was not drawn: no request succeeded"));
}

TEST_F(CliBenchTest, AnInvalidRequestEndsItBeforeTheClockStarts) {
  fake_.answer = BadRequestStatus({{"sampler.steps", "must be at most 1000, is 2000"}});
  const ProcessResult result = Bench({"--rate", "1000", "--tenant-header", "x"});
  EXPECT_EQ(result.exit_status, (ExitStatus{.code = 2}));
  EXPECT_THAT(result.error, HasSubstr("must be at most 1000, is 2000"));
  EXPECT_EQ(fake_.requests().size(), 1u);
}

TEST_F(CliBenchTest, AWarmUpLeavesSomethingToMeasure) {
  const ProcessResult result = Bench({"--rate", "1000", "--tenant-header", "x", "--warmup", "1h"});
  EXPECT_EQ(result.exit_status, (ExitStatus{.code = 2}));
  EXPECT_THAT(result.error, HasSubstr("--warmup: must leave requests to measure"));
}

TEST_F(CliBenchTest, CtrlCPrintsWhatWasMeasured) {
  fake_.holds_calls = true;
  WriteFile(mix_, R"([{"model": "shapes", "steps": 2}])");
  auto process = Subprocess::Start({DENOISE_BINARY, "bench", "--server", fake_.address(), "--mix",
                                    mix_.string(), "--rate", "1000", "--requests", "5"});
  ASSERT_TRUE(process.ok()) << process.status();
  fake_.LetOneCallFinish();  // the one that is tried first
  ASSERT_TRUE(fake_.WaitForRequests(6));
  (*process)->Signal(SIGINT);
  EXPECT_EQ((*process)->Wait(kPatience), (ExitStatus{.code = 130}));
  for (int call = 0; call < 5; ++call) fake_.LetOneCallFinish();
  EXPECT_THAT((*process)->standard_output().WaitForEnd(), HasSubstr("cut off"));
  EXPECT_THAT((*process)->standard_error().WaitForEnd(), HasSubstr("interrupted"));
}

TEST_F(CliBenchTest, FilesAreNotReplacedWithoutAWord) {
  WriteFile(File("run.json"), "mine");
  const ProcessResult refused =
      Bench({"--rate", "1000", "--tenant-header", "x", "--json", File("run.json")});
  EXPECT_EQ(refused.exit_status, (ExitStatus{.code = 2}));
  EXPECT_THAT(refused.error, AllOf(HasSubstr("--json"), HasSubstr("--overwrite")));
  EXPECT_EQ(ReadFile(File("run.json")), "mine");
}

TEST_F(CliBenchTest, WrongUseIsRefusedWithTheReason) {
  const struct {
    std::vector<std::string> arguments;
    std::string error;
  } kCases[] = {
      {{}, "--models: is required to start a server"},
      {{"--server", "a:1", "--models", "m"}, "--server cannot be combined with --models"},
      {{"--server", "a:1", "--", "--queue-size", "3"}, "gives flags to a server of its own"},
      {{"--server", "a:1", "--rate", "0"}, "--rate: must be a number above 0"},
      {{"--server", "a:1", "--rate", "nan"}, "--rate: must be a number above 0"},
      {{"--server", "a:1", "--rate", "1", "--load", "1"}, "--rate cannot be combined with --load"},
      {{"--server", "a:1", "--requests", "0"}, "--requests: must be a whole number from 1 to"},
      {{"--server", "a:1", "--duration", "25h"}, "--duration: must be at most 24h; is 25h"},
      {{"--server", "a:1", "--max-in-flight", "10001"}, "--max-in-flight: must be a whole number"},
      {{"--server", "a:1", "--compare"}, "--compare needs --models"},
      {{"--models", "m", "--loads", "1"}, "--loads needs --compare"},
      {{"--models", "m", "--compare", "--batchings", "all"}, "--batchings: must be some of"},
      {{"--models", "m", "--compare", "--loads", "1,x"}, "--loads: must be a number above 0"},
      {{"--server", "a:1", "--plot", "x.gif"}, "--plot: must end with .png"},
      {{"--server", "a:1", "--tenant-header", "X Y"}, "--tenant-header: must be a metadata key"},
      {{"--server", "a:1", "--mix", "/nowhere"}, "--mix: "},
      {{"--server", "a:1", "--trace", "/nowhere"}, "--trace: "},
      {{"--server", "a:1", "--trace", "x", "--capacity", "3"}, "--capacity: has no effect"},
  };
  for (const auto& [arguments, error] : kCases) {
    const ProcessResult result = Run(arguments);
    EXPECT_EQ(result.exit_status, (ExitStatus{.code = 2})) << error << "\n" << result.error;
    EXPECT_THAT(result.error, HasSubstr(error));
  }
}

TEST_F(CliBenchTest, HostileFilesAreRefusedByEntryLineAndKey) {
  WriteFile(File("mix"), R"([{"steps": 1}, {"name": "x", "steps": -1}])");
  const ProcessResult mix = Run({"--server", fake_.address(), "--mix", File("mix")});
  EXPECT_EQ(mix.exit_status, (ExitStatus{.code = 2}));
  EXPECT_THAT(mix.error, HasSubstr("mix: [1].steps: must be an integer"));
  WriteFile(File("trace"), "{\"arrival_seconds\": 0}\n{\"arrival_seconds\": \"\\u001b[2J\"}\n");
  const ProcessResult trace = Run({"--server", fake_.address(), "--trace", File("trace")});
  EXPECT_EQ(trace.exit_status, (ExitStatus{.code = 2}));
  EXPECT_THAT(trace.error, HasSubstr("trace: line 2: arrival_seconds: must be a number"));
  WriteFile(File("tenants"), R"([{"tenant": "acme"}])");
  const ProcessResult tenants = Run({"--server", fake_.address(), "--mix", File("tenants")});
  EXPECT_EQ(tenants.exit_status, (ExitStatus{.code = 2}));
  EXPECT_THAT(tenants.error, HasSubstr("--tenant-header: is required"));
}

TEST_F(CliBenchTest, AServerThatIsNotThereIsUnavailable) {
  fake_.Stop();
  EXPECT_EQ(Bench({"--rate", "10", "--tenant-header", "x"}).exit_status, (ExitStatus{.code = 3}));
}

}  // namespace
}  // namespace denoise
