// The `denoise` command against a real server, as people and scripts use it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/server_process.h"

namespace denoise {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;

constexpr ExitStatus kUsage{.code = 2};
constexpr ExitStatus kUnavailable{.code = 3};
constexpr ExitStatus kDeadlineExceeded{.code = 4};
constexpr ExitStatus kNotFound{.code = 5};
constexpr ExitStatus kInterrupted{.code = 130};

class CliTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    models_ = std::make_unique<ModelsFolder>();
    models_->AddGuided().AddReference("gray-not-square", "gray");
    server_ = StartServer(models_->path());
  }

  static void TearDownTestSuite() {
    server_.reset();
    models_.reset();
  }

  std::filesystem::path Out() const { return folder_.path() / "out"; }

  // `generate` with the model "guided" and a seed, into Out().
  std::vector<std::string> GenerateArguments(const std::vector<std::string>& more) const {
    std::vector<std::string> arguments = {"generate", "--server",     server_->address(),
                                          "--model",  "guided",       "--class-label",
                                          "c1",       "--seed",       "5",
                                          "--out",    Out().string(), "--overwrite"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  ProcessResult RunGenerate(const std::vector<std::string>& more) const {
    return RunDenoise(GenerateArguments(more));
  }

  static inline std::unique_ptr<ModelsFolder> models_;
  static inline std::unique_ptr<ServerProcess> server_;
  TempDir folder_;
};

std::vector<json> JsonLines(const std::string& text) {
  std::vector<json> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    lines.push_back(json::parse(line, nullptr, /*allow_exceptions=*/false));
    EXPECT_FALSE(lines.back().is_discarded()) << line;
  }
  return lines;
}

TEST_F(CliTest, GenerateWritesImagesFramesSheetAndAnimation) {
  const auto result = RunGenerate({"--count", "3", "--sampler", "dpmpp_2m", "--steps", "6",
                                   "--guidance-scale", "2", "--frames", "1"});
  ASSERT_EQ(result.exit_status, kExitedCleanly) << result.error;
  for (const char* name : {"image-0.png", "image-1.png", "image-2.png", "contact-sheet.png",
                           "frames/image-2-step-006.png"}) {
    EXPECT_THAT(ReadFile(Out() / name), StartsWith("\x89PNG")) << name;
  }
  EXPECT_THAT(ReadFile(Out() / "denoising.webp"), AllOf(StartsWith("RIFF"), HasSubstr("ANIM")));
}

TEST_F(CliTest, DiffuseWritesFramesStripAndAnimation) {
  ASSERT_EQ(RunGenerate({"--steps", "3", "--count", "2"}).exit_status, kExitedCleanly);
  const std::filesystem::path noise = folder_.path() / "noise";
  const auto result =
      RunDenoise({"diffuse", "--server", server_->address(), "--model", "guided", "--timesteps",
                  "0,500,999", (Out() / "image-0.png").string(), (Out() / "image-1.png").string(),
                  "--seed", "3", "--out", noise.string()});
  ASSERT_EQ(result.exit_status, kExitedCleanly) << result.error;
  for (const char* name :
       {"frames/picture-0-level-000.png", "frames/picture-1-level-003.png", "diffusing.png"}) {
    EXPECT_THAT(ReadFile(noise / name), StartsWith("\x89PNG")) << name;
  }
  EXPECT_THAT(ReadFile(noise / "diffusing.webp"), StartsWith("RIFF"));
  EXPECT_THAT(result.output, AllOf(HasSubstr("alpha_bar"), HasSubstr("999")));
  EXPECT_EQ(ReadFile(noise / "frames/picture-0-level-000.png"), ReadFile(Out() / "image-0.png"))
      << "the picture itself, which has the model's size";
}

TEST_F(CliTest, DiffuseNamesTheFlagThatIsWrong) {
  ASSERT_EQ(RunGenerate({"--steps", "2"}).exit_status, kExitedCleanly);
  const auto result = RunDenoise({"diffuse", (Out() / "image-0.png").string(), "--server",
                                  server_->address(), "--model", "guided", "--steps", "0", "--out",
                                  (folder_.path() / "noise").string()});
  EXPECT_EQ(result.exit_status, kUsage);
  EXPECT_THAT(result.error, HasSubstr("--steps"));
}

TEST_F(CliTest, GenerateGetsTheSameBytesAsTheApi) {
  const auto result =
      RunGenerate({"--count", "2", "--sampler", "ddim", "--eta", "0.5", "--steps", "5"});
  ASSERT_EQ(result.exit_status, kExitedCleanly) << result.error;
  auto request = GuidedRequest(/*steps=*/5);
  request.set_class_label(1);
  request.set_seed(6);
  request.mutable_sampler()->set_sampler(denoised::v1::SAMPLER_DDIM);
  request.mutable_sampler()->set_eta(0.5);
  EXPECT_EQ(ReadFile(Out() / "image-1.png"), Generate(server_->generation(), request).Images()[0]);
}

TEST_F(CliTest, ClassesGoByNameOrByIndex) {
  ASSERT_EQ(RunGenerate({"--steps", "3"}).exit_status, kExitedCleanly);
  const std::string by_name = ReadFile(Out() / "image-0.png");
  ASSERT_EQ(
      RunDenoise({"generate", "--server", server_->address(), "--model", "guided", "--class-label",
                  "1", "--seed", "5", "--steps", "3", "--out", Out().string(), "--overwrite"})
          .exit_status,
      kExitedCleanly);
  EXPECT_EQ(ReadFile(Out() / "image-0.png"), by_name);
}

TEST_F(CliTest, JsonIsALineForEveryEvent) {
  const auto result = RunGenerate({"--count", "2", "--steps", "4", "--frames", "2", "--json"});
  ASSERT_EQ(result.exit_status, kExitedCleanly) << result.error;
  const auto lines = JsonLines(result.output);
  ASSERT_GE(lines.size(), 4u);
  EXPECT_TRUE(lines.front().contains("accepted")) << lines.front();
  EXPECT_EQ(lines.front()["accepted"]["seed"], "5");
  EXPECT_TRUE(lines.back().contains("finished")) << lines.back();

  int images = 0;
  int64_t sequence = -1;
  for (size_t i = 0; i < lines.size(); ++i) {
    EXPECT_GT(std::stoll(lines[i]["sequence"].get<std::string>()), sequence);
    sequence = std::stoll(lines[i]["sequence"].get<std::string>());
    for (const char* kind : {"image", "frame"}) {
      if (!lines[i].contains(kind)) continue;
      const json& image = lines[i][kind]["image"];
      EXPECT_EQ(std::filesystem::file_size(image["path"].get<std::string>()), image["size_bytes"]);
    }
    images += lines[i].contains("image");
  }
  EXPECT_EQ(images, 2);
}

TEST_F(CliTest, FormatsAreWrittenAsAskedFor) {
  struct Case {
    const char* format;
    const char* file;
    const char* magic;
  };
  for (const Case& c :
       {Case{"png", "image-0.png", "\x89PNG"}, Case{"webp", "image-0.webp", "RIFF"},
        Case{"jpeg", "image-0.jpg", "\xff\xd8\xff"}, Case{"npy", "image-0.npy", "\x93NUMPY"}}) {
    const auto result = RunGenerate({"--steps", "2", "--format", c.format});
    ASSERT_EQ(result.exit_status, kExitedCleanly) << result.error;
    EXPECT_THAT(ReadFile(Out() / c.file), StartsWith(c.magic)) << c.format;
  }
  const std::string npy = ReadFile(Out() / "image-0.npy");
  EXPECT_THAT(npy, HasSubstr("(3, 16, 16)"));
  EXPECT_EQ((npy.size() - 4 * 3 * 16 * 16) % 64, 0u);
}

TEST_F(CliTest, ErrorsNameTheFlagAndEndWithTheirCode) {
  struct Case {
    std::vector<std::string> arguments;
    ExitStatus exit_status;
    const char* says;
  };
  for (const Case& c : {
           Case{{"--steps", "0"}, kUsage, "--steps"},
           Case{{"--steps", "1000000"}, kUsage, "--steps"},
           Case{{"--count", "0"}, kUsage, "--count"},
           Case{{"--guidance-scale", "nan"}, kUsage, "--guidance-scale"},
           Case{{"--sampler", "magic"}, kUsage, "--sampler"},
           Case{{"--sampler", "ddim", "--eta", "7"}, kUsage, "--eta"},
           Case{{"--absent-flag"}, kUsage, "--absent-flag"},
       }) {
    const auto result = RunGenerate(c.arguments);
    EXPECT_EQ(result.exit_status, c.exit_status) << c.arguments[0] << ": " << result.error;
    EXPECT_THAT(result.error, HasSubstr(c.says));
    EXPECT_FALSE(std::filesystem::exists(Out() / "image-0.png"));
  }
  const auto no_class = RunDenoise({"generate", "--server", server_->address(), "--model", "guided",
                                    "--class-label", "unicorns", "--out", Out().string()});
  EXPECT_EQ(no_class.exit_status, kUsage);
  EXPECT_THAT(no_class.error, HasSubstr("--class-label"));
  const auto no_model = RunDenoise(
      {"generate", "--server", server_->address(), "--model", "absent", "--out", Out().string()});
  EXPECT_EQ(no_model.exit_status, kNotFound) << no_model.error;
}

TEST_F(CliTest, NobodyListeningIsUnavailable) {
  const auto result = RunDenoise({"models", "--server", "127.0.0.1:1", "--deadline", "30s"});
  EXPECT_EQ(result.exit_status, kUnavailable) << result.error;
  EXPECT_THAT(result.error, HasSubstr("127.0.0.1:1"));
}

TEST_F(CliTest, APassedDeadlineHasItsOwnExitCode) {
  const auto result = RunGenerate({"--count", "8", "--steps", "1000", "--deadline", "300ms"});
  EXPECT_EQ(result.exit_status, kDeadlineExceeded) << result.error;
}

TEST_F(CliTest, CtrlCCancelsAndSaysSo) {
  std::vector<std::string> argv = {DenoiseBinary()};
  const auto arguments = GenerateArguments({"--count", "64", "--steps", "1000", "--json"});
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  auto client = Subprocess::Start(argv);
  ASSERT_TRUE(client.ok()) << client.status();
  ASSERT_TRUE((*client)->standard_output().WaitForLine("{", kPatience)) << "nothing was accepted";
  (*client)->Signal(SIGINT);
  EXPECT_EQ((*client)->Wait(kPatience), kInterrupted) << (*client)->standard_error().text();
}

TEST_F(CliTest, ModelsListsWhatIsServed) {
  const auto result = RunDenoise({"models", "--server", server_->address()});
  EXPECT_EQ(result.exit_status, kExitedCleanly) << result.error;
  EXPECT_THAT(result.output, AllOf(HasSubstr("guided"), HasSubstr("gray"), HasSubstr("16")));
}

TEST_F(CliTest, HealthAnswersWithItsExitCode) {
  const auto result = RunDenoise({"health", "--server", server_->address()});
  EXPECT_EQ(result.exit_status, kExitedCleanly) << result.error;
  EXPECT_THAT(result.output, Not(HasSubstr("NOT_SERVING")));
  EXPECT_EQ(RunDenoise({"health", "--server", "127.0.0.1:1", "--deadline", "30s"}).exit_status,
            kUnavailable);
}

// The plan that is printed is the plan that runs.
TEST_F(CliTest, PlanPrintsTheTimestepsThatTheServerUses) {
  const auto plan =
      RunDenoise({"plan", "--sampler", "dpmpp_2m", "--steps", "10", "--json", "--scheduler-config",
                  (models_->path() / "guided/scheduler/scheduler_config.json").string()});
  ASSERT_EQ(plan.exit_status, kExitedCleanly) << plan.error;
  const json printed = json::parse(plan.output);

  auto request = GuidedRequest(/*steps=*/10);
  request.mutable_sampler()->set_sampler(denoised::v1::SAMPLER_DPMPP);
  const Generation run = Generate(server_->generation(), request);
  ASSERT_TRUE(run.status.ok()) << run.status.error_message();
  const auto& timesteps = run.events[0].accepted().timesteps();
  ASSERT_THAT(printed["evaluations"], SizeIs(static_cast<size_t>(timesteps.size())));
  for (int i = 0; i < timesteps.size(); ++i) {
    EXPECT_EQ(printed["evaluations"][static_cast<size_t>(i)]["timestep"], timesteps[i]);
  }
}

TEST_F(CliTest, PlanOfAServersModelIsThePlanOfItsSchedulerConfig) {
  const std::vector<std::string> sampler = {"plan", "--sampler", "unipc", "--steps", "7", "--json"};
  std::vector<std::string> here = sampler, there = sampler;
  here.insert(here.end(),
              {"--scheduler-config", models_->path() / "guided/scheduler/scheduler_config.json"});
  there.insert(there.end(), {"--model", "guided", "--server", server_->address()});
  const auto asked = RunDenoise(there);
  ASSERT_EQ(asked.exit_status, kExitedCleanly) << asked.error;
  EXPECT_EQ(asked.output, RunDenoise(here).output);
}

}  // namespace
}  // namespace denoise
