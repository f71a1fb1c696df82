// `denoise models` and its commands against a server with models in every state.
#include <atomic>
#include <chrono>
#include <csignal>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/cli/commands/cli_training_testing.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Le;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

constexpr char kReason[] =
    "unet/config.json: AttnDownBlock2D must have attention_head_dim from 1 to 512, has 0; "
    "correct it, or copy the model again";

v1::Model ModelIn(const std::string& name, v1::Model::State state) {
  v1::Model model;
  model.set_name(name);
  model.set_state(state);
  model.set_version("89abcdef");
  model.set_channels(3);
  model.set_height(256);
  model.set_width(256);
  model.set_memory_bytes(14'200'000);
  model.mutable_default_sampler()->set_sampler(v1::SAMPLER_DDIM);
  return model;
}

v1::Model BrokenModel() {
  v1::Model model;
  model.set_name("models/broken");
  model.set_state(v1::Model::FAILED);
  model.set_error(kReason);
  return model;
}

v1::ModelEvent ChangedTo(const v1::Model& model) {
  v1::ModelEvent event;
  *event.mutable_model() = model;
  return event;
}

v1::ModelEvent Removed(const std::string& name) {
  v1::ModelEvent event;
  event.set_removed(name);
  return event;
}

v1::ModelEvent Complete() {
  v1::ModelEvent event;
  event.mutable_complete();
  return event;
}

class CliModelsTest : public testing::Test {
 protected:
  std::vector<std::string> Argv(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), DENOISE_BINARY);
    arguments.insert(arguments.end(), {"--server", server_.address()});
    return arguments;
  }
  ProcessResult Run(std::vector<std::string> arguments) const {
    return RunProcess(Argv(std::move(arguments)), kPatience).value();
  }

  // Models of every state beside those that have none.
  void ServeStates() {
    server_.SetModel(BrokenModel());
    server_.SetModel(ModelIn("models/emoji-32", v1::Model::LOADED));
    server_.SetModel(ModelIn("models/emoji-32@2", v1::Model::LOADING));
    server_.SetModel(ModelIn("models/google--ddpm-celeba-256", v1::Model::UNLOADED));
  }

  // For handlers: returns after LetChangesHappen(), or if a test that failed never calls it.
  void WaitForChanges() { changes_.get_future().wait_for(std::chrono::minutes(1)); }
  void LetChangesHappen() { changes_.set_value(); }

  // What handlers use outlives the server.
  std::promise<void> changes_;
  std::atomic<int> streams_ = 0;
  FakeServer server_;
  TempDir folder_;
};

TEST_F(CliModelsTest, TheTableTellsStatesMemoryAndReasonsWithin80Columns) {
  ServeStates();
  const auto result = Run({"models"});
  ASSERT_EQ(result.exit_status, Exited(0)) << result.error;
  EXPECT_THAT(result.output,
              StartsWith("NAME                     STATE     MEMORY   SHAPE      CLASSES  SAMPLER\n"
                         "broken                   failed    -        -          -        -\n"
                         "emoji-32                 loaded    14.2 MB  256x256x3  -        ddim\n"
                         "emoji-32@2               loading   14.2 MB  256x256x3  -        ddim\n"
                         "google--ddpm-celeba-256  unloaded  14.2 MB  256x256x3  -        ddim\n"));
  EXPECT_THAT(result.output, HasSubstr("\n\nbroken failed: unet/config.json: AttnDownBlock2D "));
  EXPECT_THAT(std::vector<std::string>(absl::StrSplit(result.output, '\n')), Each(SizeIs(Le(79))));
}

TEST_F(CliModelsTest, AServerWithoutStatesIsShownAsBefore) {
  EXPECT_EQ(Run({"models"}).output,
            "NAME    SHAPE    CLASSES  PARAMETERS  DEFAULT SAMPLER\n"
            "plain   16x12x3  -        1.2 M       ddim\n"
            "shapes  16x12x3  2        1.2 M       ddim\n");
  EXPECT_THAT(Run({"models", "shapes"}).output,
              StartsWith("shapes\n  version         0123abcd\n  makes "));
}

TEST_F(CliModelsTest, OneModelIsDescribedWithStateMemoryAndError) {
  ServeStates();
  EXPECT_THAT(Run({"models", "emoji-32"}).output,
              StartsWith("emoji-32\n  state           loaded\n  memory          14.2 MB\n"
                         "  version         89abcdef\n"));
  const auto broken = Run({"models", "broken"});
  EXPECT_EQ(broken.exit_status, Exited(0));
  EXPECT_THAT(broken.output, StartsWith("broken\n  state           failed: unet/config.json: "));
  EXPECT_THAT(broken.output, Not(HasSubstr("makes"))) << "nothing is known of it";
  v1::Model outdated = ModelIn("models/emoji-32", v1::Model::LOADED);
  outdated.set_error("config.json is empty");
  server_.SetModel(outdated);
  EXPECT_THAT(Run({"models", "emoji-32"}).output,
              HasSubstr("loaded; an earlier version is served; the newer one failed:\n"
                        "                  config.json is empty\n"));
  EXPECT_THAT(Run({"models"}).output,
              HasSubstr("\nemoji-32: an earlier version is served; the newer one failed: "));
}

TEST_F(CliModelsTest, JsonHasEveryModelWithItsState) {
  ServeStates();
  const auto lines = Lines(Run({"models", "--json"}).output);
  ASSERT_EQ(lines.size(), 6u);
  EXPECT_EQ(lines[0]["state"], "FAILED");
  EXPECT_EQ(lines[0]["error"], kReason);
  EXPECT_EQ(lines[1]["memory_bytes"], "14200000");
  EXPECT_EQ(lines[4]["state"], "STATE_UNSPECIFIED");
}

TEST_F(CliModelsTest, AFailedModelIsNeitherPickedNorProposed) {
  server_.SetModel(BrokenModel());
  const std::string out = (folder_.path() / "out").string();
  EXPECT_THAT(Run({"generate", "--out", out}).error, HasSubstr("are served: plain, shapes"));
  EXPECT_THAT(Run({"generate", "--model", "absent", "--out", out}).error,
              HasSubstr("served: plain, shapes"));
  const auto named = Run({"generate", "--model", "broken", "-c", "circle", "--out", out});
  EXPECT_EQ(named.exit_status, Exited(1));
  EXPECT_THAT(named.error,
              AllOf(StartsWith("denoise: model broken cannot be used: unet/config.json"),
                    HasSubstr("`denoise models`")));
  for (const char* name : {"plain", "shapes"}) Run({"models", "delete", name});
  const auto none = Run({"generate", "--out", out});
  EXPECT_EQ(none.exit_status, Exited(5));
  EXPECT_THAT(none.error, HasSubstr("has no model that can be used"));
  EXPECT_TRUE(server_.requests().empty());
}

TEST_F(CliModelsTest, ModelsAreLoadedUnloadedAndDeletedByName) {
  ServeStates();
  EXPECT_EQ(Run({"models", "load", "emoji-32@2", "models/emoji-32"}).output,
            "model emoji-32@2 is loaded, version 89abcdef, 14.2 MB\n"
            "model emoji-32 is loaded, version 89abcdef, 14.2 MB\n");
  EXPECT_EQ(Run({"models", "unload", "emoji-32"}).output,
            "model emoji-32 is unloaded, version 89abcdef\n");
  EXPECT_EQ(Run({"models", "delete", "emoji-32"}).output, "model emoji-32 is deleted\n");
  EXPECT_EQ(Run({"models", "emoji-32"}).exit_status, Exited(5));
  EXPECT_THAT(server_.model_calls(),
              ElementsAre("load models/emoji-32@2", "load models/emoji-32",
                          "unload models/emoji-32", "delete models/emoji-32"));
}

TEST_F(CliModelsTest, JsonIsOneModelPerLineOfWhatWasDone) {
  const auto loaded = Run({"models", "load", "plain", "shapes", "--json"});
  const auto lines = Lines(loaded.output);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[1]["name"], "models/shapes");
  EXPECT_EQ(lines[1]["state"], "LOADED");
  EXPECT_EQ(Run({"models", "delete", "plain", "--json"}).output, "");
  const auto before = Run({"models", "--json", "unload", "shapes"});
  EXPECT_EQ(Lines(before.output).at(0)["state"], "UNLOADED") << "a flag before the command";
}

TEST_F(CliModelsTest, AModelThatFailsDoesNotKeepTheOthersFromTheirTurn) {
  ServeStates();
  const auto result = Run({"models", "load", "absent", "broken", "shapes", "--json"});
  EXPECT_EQ(result.exit_status, Exited(5)) << "that of the first failure";
  EXPECT_THAT(result.error,
              AllOf(HasSubstr("denoise: there is no model absent. `denoise models` shows what "
                              "exists.\n"),
                    HasSubstr("denoise: model broken: unet/config.json: ")));
  const auto lines = Lines(result.output);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0]["error"]["code"], "NOT_FOUND");
  EXPECT_EQ(lines[1]["error"]["code"], "FAILED_PRECONDITION");
  EXPECT_EQ(lines[2]["name"], "models/shapes");
}

TEST_F(CliModelsTest, AServerThatDoesNotManageModelsIsAskedOnce) {
  server_.manages_models = false;
  const auto result = Run({"models", "delete", "plain", "shapes"});
  EXPECT_EQ(result.exit_status, Exited(1));
  EXPECT_EQ(result.error,
            "denoise: this server does not let callers load, unload or delete models; it must be "
            "started with --manage-models for that\n");
  EXPECT_THAT(server_.model_calls(), SizeIs(1));
}

TEST_F(CliModelsTest, AWatchPrintsALineForEveryModelAndThenForEveryChange) {
  server_.watch_models = [this](auto& context, auto& writer) {
    v1::Model model = ModelIn("models/emoji-32", v1::Model::UNLOADED);
    writer.Write(ChangedTo(BrokenModel()));
    writer.Write(ChangedTo(model));
    writer.Write(Complete());
    WaitForChanges();
    model.set_state(v1::Model::LOADED);
    writer.Write(ChangedTo(model));
    writer.Write(Removed("models/broken"));
    WaitUntilCancelled(context);
    return grpc::Status::CANCELLED;
  };
  auto process = Subprocess::Start(Argv({"models", "watch"})).value();
  const OutputReader& output = process->standard_output();
  EXPECT_TRUE(output.WaitForLine("model broken failed: unet/config.json", kPatience));
  EXPECT_TRUE(output.WaitForLine("model emoji-32 is unloaded, version 89abcdef", kPatience));
  LetChangesHappen();
  EXPECT_TRUE(output.WaitForLine("model emoji-32 is loaded, version 89abcdef, 14.2 MB", kPatience));
  EXPECT_TRUE(output.WaitForLine("model broken is removed", kPatience));
  process->Signal(SIGINT);
  EXPECT_EQ(process->Wait(kPatience), Exited(130));
  EXPECT_THAT(process->standard_error().WaitForEnd(), HasSubstr("interrupted"));
}

TEST_F(CliModelsTest, AWatchInJsonIsOneEventPerLineAsItHappens) {
  server_.watch_models = [this](auto& context, auto& writer) {
    writer.Write(ChangedTo(BrokenModel()));
    writer.Write(Complete());
    WaitForChanges();
    writer.Write(Removed("models/broken"));
    WaitUntilCancelled(context);
    return grpc::Status::CANCELLED;
  };
  auto process = Subprocess::Start(Argv({"models", "watch", "--json"})).value();
  const OutputReader& output = process->standard_output();
  EXPECT_TRUE(output.WaitForLine("{\"model\":{\"name\":\"models/broken\"", kPatience));
  EXPECT_TRUE(output.WaitForLine("{\"complete\":{}}", kPatience));
  LetChangesHappen();
  EXPECT_TRUE(output.WaitForLine("{\"removed\":\"models/broken\"}", kPatience));
  process->Signal(SIGTERM);
  EXPECT_EQ(process->Wait(kPatience), Exited(130));
  const auto lines = Lines(output.WaitForEnd());
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0]["model"]["state"], "FAILED");
  EXPECT_EQ(lines[3]["error"]["code"], "CANCELLED");
}

TEST_F(CliModelsTest, AWatchContinuesWhenTheServerIsBackAndTellsOnlyWhatIsNew) {
  server_.watch_models = [this](auto& context, auto& writer) {
    writer.Write(ChangedTo(ModelIn("models/a", v1::Model::LOADED)));
    if (++streams_ == 1) {
      writer.Write(ChangedTo(ModelIn("models/b", v1::Model::LOADED)));
      writer.Write(Complete());
      return grpc::Status(grpc::StatusCode::UNAVAILABLE, "draining");
    }
    writer.Write(Complete());
    WaitUntilCancelled(context);
    return grpc::Status::CANCELLED;
  };
  auto process = Subprocess::Start(Argv({"models", "watch"})).value();
  EXPECT_TRUE(process->standard_output().WaitForLine("model b is removed", kPatience));
  process->Signal(SIGINT);
  EXPECT_EQ(process->Wait(kPatience), Exited(130));
  EXPECT_EQ(process->standard_output().WaitForEnd(),
            "model a is loaded, version 89abcdef, 14.2 MB\n"
            "model b is loaded, version 89abcdef, 14.2 MB\n"
            "model b is removed\n");
  EXPECT_THAT(process->standard_error().WaitForEnd(), HasSubstr("the server is away; watching"));
}

TEST_F(CliModelsTest, AWatchOfAServerThatIsNotThereEndsAtOnce) {
  server_.Stop();
  const auto result = Run({"models", "watch"});
  EXPECT_EQ(result.exit_status, Exited(3));
  EXPECT_THAT(result.error, Not(HasSubstr("the server is away")));
}

TEST_F(CliModelsTest, AWatchOfAServerWithoutItSaysSo) {
  server_.watch_models = [](auto&, auto&) {
    return grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "");
  };
  const auto result = Run({"models", "watch"});
  EXPECT_EQ(result.exit_status, Exited(1));
  EXPECT_THAT(result.error, HasSubstr("at least as new as this client"));
}

TEST_F(CliModelsTest, WhatAServerSaysDoesNotReachTheTerminalAsItIs) {
  v1::Model model = BrokenModel();
  model.set_error(kHostile);
  server_.SetModel(model);
  server_.watch_models = [model](auto&, auto& writer) {
    writer.Write(ChangedTo(model));
    return grpc::Status(grpc::StatusCode::INTERNAL, "over");
  };
  const std::vector<std::string> commands[] = {
      {"models"}, {"models", "broken"}, {"models", "watch"}};
  for (const std::vector<std::string>& command : commands) {
    EXPECT_THAT(Run(command).output, AllOf(HasSubstr("gone"), Not(HasSubstr("\x1b")),
                                           Not(HasSubstr("\x07")), Not(HasSubstr("\r"))))
        << command.back();
  }
}

TEST_F(CliModelsTest, CommandsAndNamesAreToldApart) {
  EXPECT_THAT(Run({"models", "lod", "plain"}).error,
              StartsWith("denoise: unknown command lod; did you mean load?\n"));
  EXPECT_THAT(Run({"models", "plain", "load", "shapes"}).error,
              StartsWith("denoise: load cannot be combined with name\n"));
  EXPECT_THAT(Run({"models", "load"}).error, StartsWith("denoise: name is required\n"));
  EXPECT_THAT(Run({"models", "watch", "plain"}).error,
              StartsWith("denoise: unexpected argument plain\n"));
  EXPECT_THAT(Run({"models", "load", "--bogus", "plain"}).error,
              StartsWith("denoise: unknown flag --bogus\n  `denoise models load --help`"));
  EXPECT_THAT(server_.model_calls(), IsEmpty());
  v1::Model model = ModelIn("models/load", v1::Model::LOADED);
  server_.SetModel(model);
  EXPECT_THAT(Run({"models", "models/load"}).output, StartsWith("load\n"));
  EXPECT_THAT(Run({"models", "unload", "load"}).output, StartsWith("model load is unloaded"));
}

TEST(CliModels, HelpHasExamplesWithin80Columns) {
  for (const char* command : {"load", "unload", "delete", "watch"}) {
    const auto result = RunProcess({DENOISE_BINARY, "models", command, "--help"}, kPatience);
    EXPECT_EQ(result->exit_status, Exited(0));
    EXPECT_THAT(result->output, HasSubstr("Examples:\n  denoise models "));
    EXPECT_THAT(std::vector<std::string>(absl::StrSplit(result->output, '\n')),
                Each(SizeIs(Le(80))))
        << command;
  }
}

}  // namespace
}  // namespace denoise
