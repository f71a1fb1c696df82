// A generation is paused, the server restarted, and the generation continued with its token.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "denoised/v1/generations.grpc.pb.h"
#include "tests/e2e/caller_channel.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/metric_names.h"
#include "tests/e2e/server_process.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using testing::AllOf;
using testing::HasSubstr;
using testing::SizeIs;
using v1::GenerateEvent;
using v1::GenerateRequest;

constexpr ExitStatus kFailed{.code = 1};
constexpr ExitStatus kUsage{.code = 2};

class PauseTest : public testing::Test {
 protected:
  PauseTest() {
    models_.AddGuided();
    const auto key = RunProcess({DenoisedBinary(), "new-handover-key"}, kPatience);
    std::ofstream(Key()) << key->output;
    Start();
  }

  std::string Key() const { return (folder_.path() / "key").string(); }

  void Start(std::vector<std::string> flags = {}) {
    flags.insert(flags.end(), {"--handover-key", Key()});
    server_ = StartServer(models_.path(), flags);
  }

  // Ends the server as an operator does; what is paused does not hold it up.
  void Restart() {
    server_->process().Signal(SIGTERM);
    EXPECT_EQ(server_->process().Wait(kPatience), kExitedCleanly);
    Start();
  }

  static GenerateRequest Request(const std::string& id, int steps) {
    GenerateRequest request = GuidedRequest(steps);
    request.set_request_id(id);
    request.set_seed(7);
    request.set_accept_handover(true);
    return request;
  }

  grpc::Status Pause(const std::string& id, v1::PauseGenerationResponse& response,
                     const Metadata& metadata = {}) const {
    const auto stub = v1::Generations::NewStub(ChannelWith(server_->address(), metadata));
    grpc::ClientContext context;
    v1::PauseGenerationRequest request;
    request.set_name("generations/" + id);
    return stub->PauseGeneration(&context, request, &response);
  }

  std::string TokenOf(const std::string& id) const {
    v1::PauseGenerationResponse response;
    const grpc::Status status = Pause(id, response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.token();
  }

  v1::Generation::State StateOf(const std::string& id) const {
    const auto stub = v1::Generations::NewStub(server_->channel());
    grpc::ClientContext context;
    v1::GetGenerationRequest request;
    request.set_name("generations/" + id);
    v1::Generation generation;
    const grpc::Status status = stub->GetGeneration(&context, request, &generation);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return generation.state();
  }

  Generation Resume(const std::string& token) const {
    GenerateRequest request;
    request.set_handover(token);
    return Generate(server_->generation(), request);
  }

  // What the request makes if nobody pauses it.
  std::map<int, std::string> Undisturbed(GenerateRequest request) const {
    request.clear_request_id();
    return Generate(server_->generation(), request).Images();
  }

  ProcessResult Denoise(std::vector<std::string> arguments) const {
    arguments.insert(arguments.end(), {"--server", server_->address()});
    return RunDenoise(arguments);
  }

  TempDir folder_;
  ModelsFolder models_;
  std::unique_ptr<ServerProcess> server_;
};

TEST_F(PauseTest, ContinuesAfterARestartWithTheSameBytesAndRepeatsNoEvaluation) {
  GenerateRequest request = Request("zoo", /*steps=*/1000);
  request.set_count(2);
  request.mutable_sampler()->set_sampler(v1::SAMPLER_DDPM);
  BackgroundCall call(server_->generation(), request);
  ASSERT_TRUE(Eventually([&] { return server_->Metrics().Sum(kRows) > 20; }));
  const std::string token = TokenOf("zoo");
  EXPECT_EQ(StateOf("zoo"), v1::Generation::PAUSED);

  const Generation& begun = call.Join();
  EXPECT_EQ(begun.status.error_code(), grpc::StatusCode::ABORTED);
  ASSERT_THAT(DetailsOf<google::rpc::ErrorInfo>(begun.status), SizeIs(1));
  EXPECT_EQ(DetailsOf<google::rpc::ErrorInfo>(begun.status)[0].reason(), "GENERATION_PAUSED");
  ASSERT_EQ(begun.events.back().event_case(), GenerateEvent::kHandover);
  EXPECT_TRUE(begun.events.back().handover().paused());
  const double rows_before = server_->Metrics().Sum(kRows);

  Restart();
  const Generation continued = Resume(token);
  ASSERT_TRUE(continued.status.ok()) << continued.status.error_message();
  const v1::Accepted& accepted = continued.events.front().accepted();
  EXPECT_EQ(accepted.generation(), "generations/zoo");
  EXPECT_EQ(accepted.evaluations_done(), rows_before) << "each made once, and handed over";
  EXPECT_TRUE(Eventually([&] {
    return rows_before + server_->Metrics().Sum(kRows) == 2 * accepted.evaluations();
  })) << "an evaluation was repeated";
  EXPECT_EQ(StateOf("zoo"), v1::Generation::SUCCEEDED);
  EXPECT_EQ(continued.Images(), Undisturbed(request));
}

TEST_F(PauseTest, WhatWaitsIsPausedAtOnce) {
  Start({"--batching", "none"});  // or a short request begins beside a long one
  GenerateRequest endless = GuidedRequest(/*steps=*/1000);
  endless.set_count(16);
  BackgroundCall running(server_->generation(), endless);
  ASSERT_TRUE(Eventually([&] { return running.Started(); }));
  const GenerateRequest request = Request("zoo", /*steps=*/5);
  BackgroundCall waiting(server_->generation(), request);
  ASSERT_TRUE(Eventually([&] { return waiting.Queued(); }));
  const std::string token = TokenOf("zoo");
  EXPECT_EQ(waiting.Join().status.error_code(), grpc::StatusCode::ABORTED);
  EXPECT_FALSE(running.Finished()) << "nobody waited for it";
  running.Cancel();
  EXPECT_EQ(Resume(token).Images(), Undisturbed(request));
}

TEST_F(PauseTest, ADetachedGenerationIsPausedByItsNameAlone) {
  GenerateRequest request = Request("zoo", /*steps=*/1000);
  request.set_on_disconnect(v1::ON_DISCONNECT_DETACH);
  {
    BackgroundCall call(server_->generation(), request);
    ASSERT_TRUE(Eventually([&] { return call.Started(); }));
  }
  EXPECT_EQ(StateOf("zoo"), v1::Generation::RUNNING);
  const std::string token = TokenOf("zoo");
  EXPECT_EQ(StateOf("zoo"), v1::Generation::PAUSED);
  EXPECT_FALSE(TokenOf("zoo").empty()) << "for those who have lost the first answer";
  Restart();
  EXPECT_EQ(Resume(token).Images(), Undisturbed(request));
}

TEST_F(PauseTest, TenantsDoNotPauseEachOthersGenerations) {
  Start({"--tenant-header", "X-Tenant", "--paused-token-seconds", "1000"});
  const Metadata acme = {{"x-tenant", "acme"}}, other = {{"x-tenant", "other"}};
  const auto channel = ChannelWith(server_->address(), acme);
  const auto stub = v1::ImageGeneration::NewStub(channel);
  GenerateRequest request = Request("zoo", /*steps=*/1000);
  request.set_count(8);
  BackgroundCall call(*stub, request);
  ASSERT_TRUE(Eventually([&] { return call.Started(); }));
  v1::PauseGenerationResponse paused;
  EXPECT_EQ(Pause("zoo", paused, other).error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_FALSE(call.Finished());
  ASSERT_TRUE(Pause("zoo", paused, acme).ok());
  EXPECT_NEAR(paused.expire_time().seconds(), paused.generation().end_time().seconds() + 1000, 1);

  GenerateRequest presented;
  presented.set_handover(paused.token());
  const auto of_other = v1::ImageGeneration::NewStub(ChannelWith(server_->address(), other));
  EXPECT_EQ(Generate(*of_other, presented).status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  BackgroundCall resumed(*stub, presented);
  EXPECT_TRUE(Eventually([&] { return resumed.Started(); }));
}

TEST_F(PauseTest, TheCommandSaysWhatIsWrongWithTheFileThatItWasGiven) {
  const auto resume = [&](const std::filesystem::path& file) {
    return Denoise(
        {"generate", "--resume", file.string(), "--out", (folder_.path() / "o").string()});
  };
  const ProcessResult none = resume(folder_.path() / "none");
  EXPECT_EQ(none.exit_status, kUsage);
  EXPECT_THAT(none.error,
              AllOf(HasSubstr("--resume: cannot read"),
                    HasSubstr("the file that `denoise generations pause` has written")));
  const ProcessResult other = resume("LICENSE");
  EXPECT_EQ(other.exit_status, kUsage);
  EXPECT_THAT(other.error, HasSubstr("  --resume: is not a token: it must be what `denoise gener"));

  GenerateRequest request = Request("zoo", /*steps=*/1000);
  request.set_count(8);
  BackgroundCall call(server_->generation(), request);
  ASSERT_TRUE(Eventually([&] { return call.Started(); }));
  const std::string token = TokenOf("zoo");
  const std::filesystem::path cut = folder_.path() / "cut", whole = folder_.path() / "whole";
  std::ofstream(cut, std::ios::binary) << token.substr(0, token.size() / 2);
  std::ofstream(whole, std::ios::binary) << token;
  EXPECT_THAT(resume(cut).error, HasSubstr("  --resume: is damaged, cut short, or belongs to"));
  server_ = StartServer(models_.path());
  const ProcessResult keyless = resume(whole);
  EXPECT_EQ(keyless.exit_status, kFailed);
  EXPECT_THAT(keyless.error, HasSubstr("it has no key for tokens. Send the token to a server of"));
}

TEST_F(PauseTest, TheCommandWritesATokenThatOnlyItsOwnerReadsAndContinuesFromIt) {
  GenerateRequest request = Request("zoo", /*steps=*/1000);
  request.set_count(2);
  BackgroundCall call(server_->generation(), request);
  ASSERT_TRUE(Eventually([&] { return call.Started(); }));
  const std::filesystem::path token = folder_.path() / "zoo.paused";
  const std::vector<std::string> pause = {"generations", "pause", "zoo", "--out", token.string()};
  const ProcessResult paused = Denoise(pause);
  ASSERT_EQ(paused.exit_status, kExitedCleanly) << paused.error;
  EXPECT_THAT(paused.output, HasSubstr("denoise generate --resume " + token.string()));
  EXPECT_EQ(std::filesystem::status(token).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  const ProcessResult again = Denoise(pause);
  EXPECT_EQ(again.exit_status, kUsage);
  EXPECT_THAT(again.error, HasSubstr("--overwrite"));

  const ProcessResult mixed =
      Denoise({"generate", "--resume", token.string(), "--steps", "5", "--model", "guided"});
  EXPECT_EQ(mixed.exit_status, kUsage);
  EXPECT_THAT(mixed.error, AllOf(HasSubstr("--steps: must be absent"), HasSubstr("--model")));

  const std::filesystem::path out = folder_.path() / "out";
  const std::vector<std::string> resume = {"generate", "--resume", token.string(), "--out",
                                           out.string()};
  const ProcessResult resumed = Denoise(resume);
  ASSERT_EQ(resumed.exit_status, kExitedCleanly) << resumed.error;
  EXPECT_EQ(ReadFile(out / "image-0.png"), Undisturbed(request).at(0));
  EXPECT_TRUE(std::filesystem::exists(out / "contact-sheet.png"));
  const ProcessResult ended = Denoise({"generations", "pause", "zoo", "--out", "elsewhere"});
  EXPECT_EQ(ended.exit_status, kFailed);
  EXPECT_THAT(ended.error, HasSubstr("nothing to pause"));
}

TEST_F(PauseTest, TheCommandSaysHowToContinueWhatWasPausedAgain) {
  GenerateRequest request = Request("zoo", /*steps=*/1000);
  request.set_count(8);
  BackgroundCall call(server_->generation(), request);
  ASSERT_TRUE(Eventually([&] { return call.Started(); }));
  const std::string older = (folder_.path() / "older").string();
  std::ofstream(older) << TokenOf("zoo");
  call.Join();
  GenerateRequest presented;
  presented.set_handover(ReadFile(older));
  BackgroundCall again(server_->generation(), presented);
  ASSERT_TRUE(Eventually([&] { return again.Started(); }));
  TokenOf("zoo");
  again.Join();
  const double rows = server_->Metrics().Sum(kRows);

  const ProcessResult resumed = Denoise({"generate", "--resume", older, "--out", older + ".out"});
  EXPECT_EQ(resumed.exit_status, kFailed);
  EXPECT_THAT(resumed.error, HasSubstr("the file that the latest `denoise generations pause`"));
  EXPECT_EQ(server_->Metrics().Sum(kRows), rows) << "work was done twice";
  EXPECT_EQ(StateOf("zoo"), v1::Generation::PAUSED);
}

}  // namespace
}  // namespace denoise
