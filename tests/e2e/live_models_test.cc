// The models folder changes while the server runs, and no request notices.
#include <gmock/gmock.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/client.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/metric_names.h"
#include "tests/e2e/server_process.h"

namespace denoise {
namespace {

using denoised::v1::Model;
using denoised::v1::ModelEvent;
using ::testing::HasSubstr;
using ::testing::Not;
namespace fs = std::filesystem;

// The server looks at its folder all the time.
const std::vector<std::string> kFollow = {"--poll-models", "0.05"};

denoised::v1::GenerateRequest RequestOf(const std::string& model, int steps = 2) {
  auto request = GuidedRequest(steps);
  request.set_model(absl::StrCat("models/", model));
  request.set_seed(7);
  return request;
}

class LiveModelsTest : public testing::Test {
 protected:
  LiveModelsTest() { models_.AddGuided("first"); }

  void Start(std::vector<std::string> flags = kFollow) {
    server_ = StartServer(models_.path(), flags);
    client_.emplace(ClientOptions{.address = server_->address()});
    watch_.emplace(client_->WatchModels());
  }

  // Reads the watch until it says this of the model.
  void WaitUntil(const std::string& model, Model::State state) {
    WaitFor([&](const ModelEvent& event) {
      return event.model().name() == absl::StrCat("models/", model) &&
             event.model().state() == state;
    });
  }
  void WaitUntilRemoved(const std::string& model) {
    WaitFor(
        [&](const ModelEvent& event) { return event.removed() == absl::StrCat("models/", model); });
  }
  void WaitFor(const std::function<bool(const ModelEvent&)>& happened) {
    while (true) {
      const auto event = watch_->Next();
      ASSERT_TRUE(event.ok() && event->has_value()) << event.status();
      if (happened(**event)) return;
    }
  }

  ProcessResult Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--server", server_->address()});
    return RunDenoise(arguments);
  }

  ModelsFolder models_;
  std::unique_ptr<ServerProcess> server_;
  std::optional<Client> client_;
  std::optional<ModelStream> watch_;
};

TEST_F(LiveModelsTest, AFolderIsServedOnceItIsThereAndNoLongerOnceItIsGone) {
  Start();
  EXPECT_EQ(Generate(server_->generation(), RequestOf("second")).status.error_code(),
            grpc::StatusCode::NOT_FOUND);
  models_.AddGuided("second");
  WaitUntil("second", Model::LOADED);
  EXPECT_TRUE(Generate(server_->generation(), RequestOf("second")).status.ok());

  BackgroundCall running(server_->generation(), RequestOf("second", /*steps=*/900));
  ASSERT_TRUE(Eventually([&] { return running.Started(); }));
  fs::remove_all(models_.path() / "second");
  WaitUntilRemoved("second");
  EXPECT_EQ(Generate(server_->generation(), RequestOf("second")).status.error_code(),
            grpc::StatusCode::NOT_FOUND);
  EXPECT_TRUE(running.Join().status.ok()) << running.Join().status.error_message();
  EXPECT_EQ(running.Join().Images().size(), 1u);
}

TEST_F(LiveModelsTest, ABrokenFolderIsReportedToWhoeverAsksAndServedOnceItIsMended) {
  Start();
  models_.AddGuidedWith({{"unet/config.json", "{"}}, "second");
  WaitUntil("second", Model::FAILED);
  const grpc::Status refused = Generate(server_->generation(), RequestOf("second")).status;
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(refused.error_message(), HasSubstr("unet/config.json"));
  EXPECT_THAT(refused.error_message(), Not(HasSubstr(models_.path().string())));
  EXPECT_THAT(Run({"models"}).output, HasSubstr("unet/config.json"));
  fs::copy_file(models_.path() / "first/unet/config.json",
                models_.path() / "second/unet/config.json", fs::copy_options::overwrite_existing);
  WaitUntil("second", Model::LOADED);
  EXPECT_TRUE(Generate(server_->generation(), RequestOf("second")).status.ok());
}

TEST_F(LiveModelsTest, AVersionTakesOverForThoseWhoNameNone) {
  Start();
  models_.AddGuided("new@1");
  WaitUntil("new@1", Model::LOADED);
  const auto model_of = [&](const std::string& name) {
    const auto generation = Generate(server_->generation(), RequestOf(name));
    EXPECT_TRUE(generation.status.ok()) << generation.status.error_message();
    return generation.events.at(0).accepted().model();
  };
  EXPECT_EQ(model_of("new"), "models/new@1");
  models_.AddGuided("new@2");
  WaitUntil("new@2", Model::LOADED);
  EXPECT_EQ(model_of("new"), "models/new@2");
  EXPECT_EQ(model_of("new@1"), "models/new@1");
}

// Three models take turns in the memory of one, while their callers know nothing of it.
TEST_F(LiveModelsTest, NoRequestIsDroppedWhereMemoryHoldsOneModelOfThree) {
  models_.AddGuided("second").AddGuided("third");
  const std::vector<std::string> names = {"first", "second", "third"};
  std::map<std::string, std::string> expected;
  Start();
  for (const std::string& name : names) {
    expected[name] = Generate(server_->generation(), RequestOf(name)).Images().at(0);
  }

  watch_.reset();
  Start({"--model-memory", "1"});
  std::atomic<int> wrong = 0;
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&, caller] {
      for (int i = 0; i < 9; ++i) {
        const std::string& name = names[static_cast<size_t>(caller + i) % names.size()];
        const Generation generation = Generate(server_->generation(), RequestOf(name));
        if (!generation.status.ok() || generation.Images().at(0) != expected[name]) ++wrong;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, 0);
  const MetricsPage metrics = server_->Metrics();
  EXPECT_GT(metrics.Sum("denoised_model_unloads_total"), 2);
  EXPECT_LE(metrics.Sum("denoised_model_memory_bytes"), 1 << 20);
  EXPECT_LE(metrics.Sum(kModelsLoaded), 1);
}

TEST_F(LiveModelsTest, TheCommandLoadsUnloadsAndDeletes) {
  models_.AddGuided("second");
  Start({"--poll-models", "0", "--manage-models"});
  WaitUntil("second", Model::LOADED);
  EXPECT_EQ(Run({"models", "unload", "second"}).exit_status.code, 0);
  WaitUntil("second", Model::UNLOADED);
  EXPECT_TRUE(Generate(server_->generation(), RequestOf("second")).status.ok());
  WaitUntil("second", Model::LOADED);

  models_.AddGuided("third");  // nobody looks for it
  EXPECT_EQ(Run({"models", "load", "third"}).exit_status.code, 0);
  EXPECT_TRUE(Generate(server_->generation(), RequestOf("third")).status.ok());
  EXPECT_EQ(Run({"models", "delete", "third"}).exit_status.code, 0);
  EXPECT_FALSE(fs::exists(models_.path() / "third"));
  EXPECT_EQ(Generate(server_->generation(), RequestOf("third")).status.error_code(),
            grpc::StatusCode::NOT_FOUND);
  const ProcessResult again = Run({"models", "delete", "third"});
  EXPECT_EQ(again.exit_status.code, 5) << "not found";
  EXPECT_THAT(again.error, HasSubstr("third"));
}

TEST_F(LiveModelsTest, NobodyManagesModelsUnlessTheServerAllowsIt) {
  Start();
  for (const absl::Status& status :
       {client_->LoadModel("first").status(), client_->UnloadModel("first").status(),
        client_->DeleteModel("first")}) {
    EXPECT_TRUE(absl::IsPermissionDenied(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("--manage-models"));
  }
  EXPECT_TRUE(fs::exists(models_.path() / "first"));
}

}  // namespace
}  // namespace denoise
