// Coming back to generations: the `denoise` command is killed and run again, watches from another
// process, lists and cancels, against the real server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "denoised/v1/generations.grpc.pb.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/metric_names.h"
#include "tests/e2e/server_process.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

constexpr ExitStatus kFailed{.code = 1};
constexpr ExitStatus kUsage{.code = 2};
constexpr ExitStatus kNotFound{.code = 5};
constexpr ExitStatus kInterrupted{.code = 130};
constexpr ExitStatus kKilled{.signal = SIGKILL};

std::vector<json> JsonLines(const std::string& text) {
  std::vector<json> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    lines.push_back(json::parse(line, nullptr, /*allow_exceptions=*/false));
    EXPECT_FALSE(lines.back().is_discarded()) << line;
  }
  return lines;
}

class GenerationsTest : public testing::Test {
 protected:
  GenerationsTest() {
    models_.AddGuided();
    Restart({});
  }

  void Restart(const std::vector<std::string>& flags) {
    server_.reset();
    server_ = StartServer(models_.path(), flags);
    stub_ = v1::Generations::NewStub(server_->channel());
  }

  std::filesystem::path Out(const std::string& name) const { return folder_.path() / name; }

  // `generate` of `count` images with the seed 5, into Out(out).
  std::vector<std::string> Arguments(int count, int steps, const std::string& out,
                                     const std::vector<std::string>& more) const {
    std::vector<std::string> arguments = {"generate",
                                          "--model",
                                          "guided",
                                          "--class-label",
                                          "1",
                                          "--seed",
                                          "5",
                                          "--count",
                                          std::to_string(count),
                                          "--steps",
                                          std::to_string(steps),
                                          "--out",
                                          Out(out).string()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  ProcessResult Run(std::vector<std::string> arguments) const {
    arguments.insert(arguments.end(), {"--server", server_->address()});
    return RunDenoise(arguments);
  }

  // In the background.
  std::unique_ptr<Subprocess> Start(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), DenoiseBinary());
    arguments.insert(arguments.end(), {"--server", server_->address()});
    auto process = Subprocess::Start(arguments);
    EXPECT_TRUE(process.ok()) << process.status();
    return *std::move(process);
  }

  // Waits until a command with --json has been accepted.
  static void WaitForAccepted(const Subprocess& process) {
    ASSERT_TRUE(process.standard_output().WaitForLine("{", kPatience))
        << process.standard_error().text();
  }

  std::vector<std::string> Images(const std::string& out, int count) const {
    std::vector<std::string> images;
    for (int i = 0; i < count; ++i) {
      images.push_back(ReadFile(Out(out) / ("image-" + std::to_string(i) + ".png")));
    }
    return images;
  }

  // Of single images.
  double Evaluations() const { return server_->Metrics().Sum(kTrajectories); }
  double ActiveRows() const { return server_->Metrics().Sum(kActiveRows); }

  // Why there is no such generation.
  std::string ReasonOf(const std::string& id) {
    grpc::ClientContext context;
    v1::GetGenerationRequest request;
    request.set_name("generations/" + id);
    v1::Generation generation;
    const auto details =
        DetailsOf<google::rpc::ErrorInfo>(stub_->GetGeneration(&context, request, &generation));
    return details.empty() ? "found" : details[0].reason();
  }

  ModelsFolder models_;
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<v1::Generations::Stub> stub_;
  TempDir folder_;
};

TEST_F(GenerationsTest, AKilledGenerateThatIsRunAgainJoinsTheRunningGeneration) {
  constexpr int kSteps = 1000, kAll = 2 * kSteps;
  const auto arguments = Arguments(2, kSteps, "out", {"--request-id", "zoo", "--json"});
  const auto first = Start(arguments);
  WaitForAccepted(*first);
  ASSERT_TRUE(Eventually([&] { return Evaluations() >= 5; }));
  first->Signal(SIGKILL);
  ASSERT_EQ(first->Wait(kPatience), kKilled);
  ASSERT_LT(Evaluations(), kAll) << "it was over before it could be killed";

  const ProcessResult second = Run(arguments);
  ASSERT_EQ(second.exit_status, kExitedCleanly) << second.error;
  EXPECT_TRUE(Eventually([&] { return Evaluations() >= kAll; }));
  EXPECT_EQ(Evaluations(), kAll) << "it was started again";
  const auto lines = JsonLines(second.output);
  EXPECT_EQ(lines.front()["accepted"]["generation"], "generations/zoo");
  EXPECT_TRUE(lines.back().contains("finished"));
  const auto joined = Images("out", 2);

  // Once more, from what is kept; and without an id, from the beginning.
  ASSERT_EQ(Run(arguments).exit_status, kExitedCleanly);
  EXPECT_EQ(Images("out", 2), joined);
  EXPECT_EQ(Evaluations(), kAll);
  ASSERT_EQ(Run(Arguments(2, kSteps, "alone", {})).exit_status, kExitedCleanly);
  EXPECT_EQ(Images("alone", 2), joined);
}

TEST_F(GenerationsTest, WatchFollowsFromAnotherProcess) {
  const auto generate =
      Start(Arguments(2, 200, "first", {"--request-id", "zoo", "--frames", "50", "--json"}));
  WaitForAccepted(*generate);
  const ProcessResult watch = Run({"watch", "zoo", "--out", Out("second").string()});
  ASSERT_EQ(watch.exit_status, kExitedCleanly) << watch.error;
  ASSERT_EQ(generate->Wait(kPatience), kExitedCleanly) << generate->standard_error().text();
  EXPECT_EQ(Images("second", 2), Images("first", 2));
  EXPECT_THAT(watch.output, HasSubstr("2 images by guided"));
  for (const char* name : {"contact-sheet.png", "denoising.png", "frames/image-1-step-200.png"}) {
    EXPECT_EQ(ReadFile(Out("second") / name), ReadFile(Out("first") / name)) << name;
  }
}

TEST_F(GenerationsTest, WatchResumesAfterANumber) {
  ASSERT_EQ(Run(Arguments(2, 10, "first", {"--request-id", "zoo", "--frames", "1"})).exit_status,
            kExitedCleanly);
  const ProcessResult watch =
      Run({"watch", "zoo", "--resume-after", "12", "--json", "--out", Out("second").string()});
  ASSERT_EQ(watch.exit_status, kExitedCleanly) << watch.error;
  const auto lines = JsonLines(watch.output);
  ASSERT_FALSE(lines.empty());
  EXPECT_GT(std::stoi(lines.front()["sequence"].get<std::string>()), 12);
  EXPECT_TRUE(lines.back().contains("finished"));
  EXPECT_EQ(Images("second", 2), Images("first", 2));

  const std::string last = lines.back()["sequence"].get<std::string>();
  const ProcessResult nothing =
      Run({"watch", "zoo", "--resume-after", last, "--out", Out("nothing").string()});
  EXPECT_EQ(nothing.exit_status, kExitedCleanly);
  EXPECT_EQ(nothing.output, "");
  EXPECT_THAT(nothing.error, HasSubstr("there is no event after " + last));

  const ProcessResult wrong =
      Run({"watch", "zoo", "--resume-after", "100000", "--out", Out("third").string()});
  EXPECT_EQ(wrong.exit_status, kUsage);
  EXPECT_THAT(wrong.error, HasSubstr("--resume-after: must be between 0 and"));
}

TEST_F(GenerationsTest, ADetachedGenerationIsListedWatchedAndCancelled) {
  std::vector<std::string> arguments =
      Arguments(64, 1000, "out", {"--request-id", "zoo", "--detach"});
  const auto out = std::find(arguments.begin(), arguments.end(), "--out");
  arguments.erase(out, out + 2);  // nothing is written
  const ProcessResult started = Run(arguments);
  ASSERT_EQ(started.exit_status, kExitedCleanly) << started.error;
  EXPECT_EQ(started.output, "zoo\n");
  ASSERT_TRUE(Eventually([&] { return ActiveRows() > 0; }));

  EXPECT_THAT(Run({"generations", "list"}).output, AllOf(HasSubstr("zoo"), HasSubstr("running")));
  const auto listed = JsonLines(Run({"generations", "list", "--json"}).output);
  ASSERT_THAT(listed, SizeIs(1));
  EXPECT_EQ(listed[0]["name"], "generations/zoo");
  EXPECT_EQ(listed[0]["state"], "RUNNING");
  EXPECT_EQ(listed[0]["on_disconnect"], "ON_DISCONNECT_DETACH");
  EXPECT_THAT(Run({"generations", "get", "generations/zoo"}).output,
              AllOf(HasSubstr("guided"), HasSubstr("detach")));

  const auto watch = Start({"watch", "zoo", "--json", "--out", Out("watch").string()});
  WaitForAccepted(*watch);
  const auto interrupted = Start({"watch", "zoo", "--json", "--out", Out("other").string()});
  WaitForAccepted(*interrupted);
  interrupted->Signal(SIGINT);
  EXPECT_EQ(interrupted->Wait(kPatience), kInterrupted);
  EXPECT_THAT(interrupted->standard_error().WaitForEnd(), HasSubstr("denoise watch zoo"));
  EXPECT_GT(ActiveRows(), 0) << "watchers come and go";

  EXPECT_EQ(Run({"generations", "cancel", "zoo"}).exit_status, kExitedCleanly);
  EXPECT_EQ(watch->Wait(kPatience), kFailed) << watch->standard_error().text();
  EXPECT_TRUE(Eventually([&] { return ActiveRows() == 0; }));
  EXPECT_EQ(json::parse(Run({"generations", "get", "zoo", "--json"}).output)["state"], "CANCELLED");
  EXPECT_EQ(Run({"generations", "cancel", "zoo"}).exit_status, kFailed) << "it has ended";
}

TEST_F(GenerationsTest, WithCancelTheLastClientToGoFreesTheRows) {
  constexpr int kImages = 64, kSteps = 1000;
  const auto generate = Start(Arguments(
      kImages, kSteps, "out", {"--request-id", "zoo", "--on-disconnect", "cancel", "--json"}));
  WaitForAccepted(*generate);
  const auto watch = Start({"watch", "zoo", "--json", "--out", Out("watch").string()});
  WaitForAccepted(*watch);
  ASSERT_TRUE(Eventually([&] { return ActiveRows() > 0; }));
  generate->Signal(SIGKILL);
  ASSERT_EQ(generate->Wait(kPatience), kKilled);
  const auto readers = [&] {
    return json::parse(Run({"generations", "get", "zoo", "--json"}).output)["readers"].get<int>();
  };
  ASSERT_TRUE(Eventually([&] { return readers() == 1; }));
  EXPECT_GT(ActiveRows(), 0) << "somebody still watches";
  watch->Signal(SIGKILL);
  ASSERT_EQ(watch->Wait(kPatience), kKilled);
  EXPECT_TRUE(Eventually([&] { return ActiveRows() == 0; }));
  EXPECT_LT(Evaluations(), kImages * kSteps) << "it ran to its end";
}

TEST_F(GenerationsTest, AnotherRequestWithTheSameIdIsRefused) {
  ASSERT_EQ(Run(Arguments(1, 2, "out", {"--request-id", "zoo"})).exit_status, kExitedCleanly);
  const ProcessResult other = Run(Arguments(2, 3, "out", {"--request-id", "zoo"}));
  EXPECT_EQ(other.exit_status, kFailed);
  EXPECT_THAT(other.error, HasSubstr("differs in count, sampler"));
  const ProcessResult wrong = Run(Arguments(1, 2, "other", {"--request-id", "a/../b"}));
  EXPECT_EQ(wrong.exit_status, kUsage);
  EXPECT_THAT(wrong.error, HasSubstr("--request-id: must be at most 64"));
}

TEST_F(GenerationsTest, WhatHasExpiredIsToldFromWhatNeverWas) {
  Restart({"--keep-results-seconds", "0"});
  ASSERT_EQ(Run(Arguments(1, 2, "out", {"--request-id", "zoo"})).exit_status, kExitedCleanly);
  EXPECT_TRUE(Eventually([&] { return ReasonOf("zoo") == "GENERATION_EXPIRED"; }));
  EXPECT_EQ(ReasonOf("never"), "GENERATION_NOT_FOUND");
  const ProcessResult expired = Run({"watch", "zoo", "--out", Out("watch").string()});
  EXPECT_EQ(expired.exit_status, kNotFound);
  EXPECT_THAT(expired.error, HasSubstr("no longer kept"));
  const ProcessResult never = Run({"generations", "get", "never"});
  EXPECT_EQ(never.exit_status, kNotFound);
  EXPECT_THAT(never.error,
              AllOf(HasSubstr("there is no generation never"), Not(HasSubstr("kept"))));
}

TEST_F(GenerationsTest, ResultsStayWithinTheirMemory) {
  Restart({"--keep-results-mib", "1"});
  for (int i = 0; i < 20; ++i) {
    v1::GenerateRequest request = GuidedRequest(/*steps=*/1);
    request.set_request_id("g" + std::to_string(i));
    ASSERT_TRUE(Generate(server_->generation(), request).status.ok());
  }
  EXPECT_EQ(ReasonOf("g0"), "GENERATION_EXPIRED");
  EXPECT_EQ(ReasonOf("g19"), "found");
}

}  // namespace
}  // namespace denoise
